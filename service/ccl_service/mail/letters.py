"""Turns a template and a person's facts into the parts of a letter. Pure but for reading the templates once."""

from dataclasses import dataclass
from typing import Final

from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: Templates compile once per process. The two differ in escaping only.
_LOADER: Final = PackageLoader("ccl_service.mail", "templates")
_PLAIN: Final = ImmutableSandboxedEnvironment(loader=_LOADER, undefined=StrictUndefined, trim_blocks=True)
_HTML: Final = ImmutableSandboxedEnvironment(loader=_LOADER, undefined=StrictUndefined, autoescape=True)


@dataclass(frozen=True)
class Facts:
    """Everything a template may name."""

    first_name: str
    vehicle_interest: str | None
    return_url: str
    unsubscribe_url: str
    postal_address: str


@dataclass(frozen=True)
class Parts:
    """The rendered letter. ``subject`` is one line."""

    subject: str
    text: str
    html: str


def render(template: str, facts: Facts) -> Parts:
    """Render ``template``. Raises jinja2.UndefinedError for a name that the facts do not hold."""
    values = vars(facts)
    # A line break in a subject would end the header and begin another.
    subject = " ".join(_PLAIN.get_template(f"{template}.subject.j2").render(values).split())
    text = _PLAIN.get_template(f"{template}.txt.j2").render(values)
    return Parts(subject, text, _HTML.get_template(f"{template}.html.j2").render(values))
