"""Find the properties of an XMP packet, and replace some of them without changing the rest.

XMP is RDF in XML (ISO 16684-1). A property is an attribute or an element; both spellings are found here.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|<(?P<close>/?)(?P<name>[^\s/>]+)"
    r"(?P<attributes>(?:[^>\"']|\"[^\"]*\"|'[^']*')*?)(?P<empty>/?)>",
    re.S,
)
_ATTRIBUTE = re.compile(r"([^\s=]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_NUMBER = re.compile(r"-?\d+(\.\d*)?|-?\.\d+")


@dataclass(frozen=True)
class Property:
    """An attribute, or an element."""

    name: tuple[str, str]
    """Namespace and local name."""
    start: int
    end: int
    """Where it is in the packet; an attribute includes the space before it."""
    inner: tuple[int, int]
    """Where its value is: for an element, everything between its tags."""
    inside: tuple[int, ...]
    """Starts of the elements around it, outermost first."""
    is_element: bool


def properties(xmp: str) -> Iterator[Property]:
    """All attributes and elements of a well-formed packet, in the order of their ends."""
    spaces: list[dict[str, str]] = [{}]
    opened: list[tuple[tuple[str, str], int, int]] = []  # name, start, end of the opening tag
    for token in _TOKEN.finditer(xmp):
        if token["name"] is None:
            continue
        inside = tuple(start for _, start, _ in opened)
        if token["close"]:
            name, start, inner = opened.pop()
            spaces.pop()
            yield Property(name, start, token.end(), (inner, token.start()), inside[:-1], True)
            continue
        attributes = list(_ATTRIBUTE.finditer(xmp, *token.span("attributes")))
        values = {match[1]: match[2] if match[2] is not None else match[3] for match in attributes}
        scope = spaces[-1] | {key.partition(":")[2]: uri for key, uri in values.items() if key.split(":")[0] == "xmlns"}
        for match in attributes:
            prefix, colon, local = match[1].rpartition(":")
            if colon and prefix != "xmlns":
                place = match.span(2) if match[2] is not None else match.span(3)
                start = match.start() - (xmp[match.start() - 1].isspace())
                yield Property(
                    (scope.get(prefix, ""), local), start, match.end(), place, (*inside, token.start()), False
                )
        prefix, _, local = token["name"].rpartition(":")
        name = scope.get(prefix, ""), local
        if token["empty"]:
            yield Property(name, token.start(), token.end(), (token.end(), token.end()), inside, True)
        else:
            opened.append((name, token.start(), token.end()))
            spaces.append(scope)


def groups(found: Iterable[Property], namespace: str) -> list[dict[str, Property]]:
    """The structures whose fields are in `namespace`, each as local name -> property.

    The fields of one structure are attributes of the same element, or elements inside the same element.
    """
    groups: dict[int, dict[str, Property]] = {}
    for one in found:
        if one.name[0] == namespace and one.inside:
            groups.setdefault(one.inside[-1], {})[one.name[1]] = one
    return list(groups.values())


def with_namespaces(xmp: str, block: Property) -> str:
    """The text of `block`, with the namespace prefixes that elements around it declare."""
    text = xmp[block.start : block.end]
    head = text[: text.index(">") + 1]
    around: dict[str, str] = {}
    for start in block.inside:
        token = _TOKEN.match(xmp, start)
        if token is not None:
            around |= {
                m[1]: m[2] or m[3] or "" for m in _ATTRIBUTE.finditer(token["attributes"]) if m[1].startswith("xmlns")
            }
    missing = "".join(f' {key}="{uri}"' for key, uri in around.items() if f"{key}=" not in head)
    return re.sub(r"^<[^\s/>]+", lambda match: match[0] + missing, text, count=1)


def without(xmp: str, unwanted: Callable[[Property], bool]) -> str:
    """`xmp` without the unwanted properties."""
    return edited(xmp, [(one.start, one.end, "") for one in properties(xmp) if unwanted(one)])


def edited(xmp: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """`xmp` with each range (start, end) replaced by a text. Ranges inside a replaced one are ignored."""
    parts: list[str] = []
    at = 0
    for start, end, text in sorted(edits, key=lambda edit: (edit[0], -edit[1])):
        if start >= at:
            parts += [xmp[at:start], text]
            at = end
    return "".join([*parts, xmp[at:]])


def value_of(xmp: str, one: Property) -> str:
    """The value of a property as text."""
    return xmp[slice(*one.inner)]


def number_in(text: str) -> float | None:
    """`text` as a number; None where it is not a number."""
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None
