"""Texts that people write into a tree. In an end-to-end workspace they cross the network sealed (``sealednames``).

A message's field that has one is declared with its type here: that is how the sealing finds it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

SEALED_AS: Final = "sealed_as"
"""Where a field's ``Meta.extra`` says which ``Text`` it is."""


class Text(StrEnum):
    """What a text is."""

    NAME = "name"
    TARGET = "target"
    XATTR_NAME = "xattr name"
    XATTR_VALUE = "xattr value"


EntryName = Annotated[bytes, Meta(extra={SEALED_AS: Text.NAME})]
"""The name of an entry."""

Target = Annotated[bytes, Meta(extra={SEALED_AS: Text.TARGET})]
"""A symlink's target; empty, and never sealed, of what is none."""

XattrName = Annotated[str, Meta(extra={SEALED_AS: Text.XATTR_NAME})]
"""An extended attribute's name, one character a byte (``nodes.xattr_name_to_wire``)."""

XattrValue = Annotated[bytes, Meta(extra={SEALED_AS: Text.XATTR_VALUE})]
"""An extended attribute's value."""
