"""What ``ccl-service migrate`` reports, and when a version and a database schema go together."""

from enum import StrEnum

from pydantic import Field

from ccl_contract.document import Document, Part


class MigrationKind(StrEnum):
    """Expand: older versions keep working afterwards. Contract: they do not."""

    EXPAND = "Expand"
    CONTRACT = "Contract"


class Pending(Part):
    """A migration not yet applied."""

    id: str
    kind: MigrationKind


class Database(Part):
    """The server behind the URL. ``version_num`` as in PostgreSQL's server_version_num, e.g. 170004."""

    version_num: int = Field(examples=[170004])
    max_connections: int = Field(examples=[100])

    @property
    def major(self) -> int:
        """The major version, e.g. 17."""
        return self.version_num // 10_000


class SchemaState(Part):
    """``own``: the epoch an image was built for. ``epoch``, ``min_compatible``: what the database holds."""

    own: int = Field(examples=[6])
    epoch: int = Field(examples=[6])
    min_compatible: int = Field(examples=[3])

    @property
    def compatible(self) -> bool:
        """Whether this version can work on this database."""
        return self.min_compatible <= self.own <= self.epoch

    @property
    def ahead(self) -> bool:
        """Whether the database has left this version behind."""
        return self.own < self.min_compatible


class MigrationReport(SchemaState, Document):
    """The document that ``migrate`` writes to the termination log."""

    pending: tuple[Pending, ...] = Field(default=(), max_length=50)
    database: Database
