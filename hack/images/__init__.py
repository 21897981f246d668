"""The container images of product and tests, and stand-ins for registry images where no registry can be reached."""

from hack.images.build import build, build_and_load, references

__all__ = ["build", "build_and_load", "references"]
