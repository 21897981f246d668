"""What the models of all kinds are made of: their base, bounded strings, references to Secrets. Pure."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ccl_operator.api import forms

Text = Annotated[str, Field(min_length=1, max_length=512)]
Subdomain = Annotated[str, Field(pattern=forms.SUBDOMAIN, max_length=253)]
SecretKey = Annotated[str, Field(pattern=forms.SECRET_KEY, max_length=253)]
VariableName = Annotated[str, Field(pattern=forms.VARIABLE, max_length=128)]
LabelKey = Annotated[str, Field(pattern=forms.LABEL_KEY, max_length=317)]
LabelValue = Annotated[str, Field(pattern=forms.LABEL_VALUE, max_length=63)]
#: Keys of maps have no schema; ``rules`` sees to their form.
MapKey = Annotated[str, Field(max_length=317)]
Labels = Annotated[Mapping[MapKey, LabelValue], Field(max_length=20)]
Annotations = Annotated[Mapping[MapKey, Annotated[str, Field(max_length=1024)]], Field(max_length=20)]
Cidr = Annotated[str, Field(max_length=50)]
Url = Annotated[str, Field(max_length=512)]


class Shape(BaseModel):
    """A part of the specification. Unknown fields are pruned by the API server, so they are ignored here too."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class SecretKeySelector(Shape):
    """One key of a Secret in the same namespace."""

    name: Subdomain = Field(description="Name of the Secret.")
    key: SecretKey = Field(description="Key inside the Secret.")


class SecretSource(Shape):
    """A value that comes from a Secret."""

    secret_key_ref: SecretKeySelector = Field(description="The Secret and the key that hold the value.")


class LocalReference(Shape):
    """An object in the same namespace."""

    name: Subdomain = Field(description="Its name.")
