"""What a process tells Prometheus."""

import aiohttp
from prometheus_client.parser import text_string_to_metric_families


async def total(url: str, root: dict[str, str], name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    async with (
        aiohttp.ClientSession(url, headers=root) as http,
        http.get("/api/monitoring/metrics/prometheus") as answer,
    ):
        assert answer.status == 200
        families = text_string_to_metric_families(await answer.text())
    samples = (sample for family in families for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())
