"""The base of every document."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A piece of a document: immutable, unknown fields ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Document(Part):
    """A whole document, with its version."""

    v: Literal[1] = 1
