"""The request types of the official packages as test data: values that fit a type, and whether a value fits one.

pydantic cannot do the second: it checks an `Iterable` only while it is read.
"""

import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Union

import typing_extensions as te
from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]

_SCALARS: Mapping[Any, Strategy] = {
    str: st.text(max_size=8) | st.sampled_from(["{}", '{"a": 1}', "a b", "call_1", "data:image/png;base64,aGk="]),
    int: st.integers(min_value=-2, max_value=40_000),
    float: st.floats(min_value=-1, max_value=3, allow_nan=False) | st.integers(min_value=0, max_value=2),
    bool: st.booleans(),
    type(None): st.none(),
}
JSON: Strategy = st.recursive(
    st.none() | st.booleans() | st.integers(min_value=-9, max_value=9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_JSON_OBJECTS = st.dictionaries(st.text(max_size=5), JSON, max_size=3)
_MAX_OPTIONAL = 4
_LISTS = (list, Iterable, Sequence)


def values_of(annotation: Any) -> Strategy:
    """JSON values that fit the annotation, such as a TypedDict."""
    annotation = _bare(annotation)
    origin, arguments = te.get_origin(annotation), te.get_args(annotation)
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if annotation in (object, Any):
        return JSON
    if te.is_typeddict(annotation):
        return _typed_dicts(annotation)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of([values_of(argument) for argument in arguments])
    if origin is dict:
        return st.dictionaries(st.text(max_size=5), values_of(arguments[1]), max_size=3)
    assert _is_list(annotation), annotation
    return st.lists(values_of(arguments[0]), max_size=3)


def misfit(value: object, annotation: Any, path: str = "") -> str | None:
    """Path at which the value does not fit the annotation; None if it fits. Unknown keys do not fit."""
    annotation = _bare(annotation)
    origin, arguments = te.get_origin(annotation), te.get_args(annotation)
    fits: bool
    if annotation in (object, Any):
        return None
    if te.is_typeddict(annotation):
        return _dict_misfit(value, annotation, path)
    if origin is Literal:
        fits = value in arguments
    elif origin in (Union, types.UnionType):
        found = [misfit(value, argument, path) for argument in arguments]
        return None if None in found else max((where for where in found if where), key=len)
    elif origin is dict:
        fits = isinstance(value, dict) and all(isinstance(key, str) for key in value)
    elif _is_list(annotation):
        if not isinstance(value, list):
            return f"{path} ({value!r})"
        found = [misfit(item, arguments[0], f"{path}.{index}") for index, item in enumerate(value)]
        return next((where for where in found if where), None)
    elif annotation is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif annotation is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    else:
        fits = isinstance(annotation, type) and isinstance(value, annotation)
    return None if fits else f"{path} ({value!r})"


def _dict_misfit(value: object, annotation: Any, path: str) -> str | None:
    if not isinstance(value, dict):
        return f"{path} ({value!r})"
    hints = te.get_type_hints(annotation, include_extras=True)
    if unknown := sorted(map(str, value.keys() - hints.keys())):
        return f"{path}.{unknown[0]} (no such key)"
    if missing := sorted(_required(hints) - value.keys()):
        return f"{path}.{missing[0]} (missing)"
    found = (misfit(item, hints[name], f"{path}.{name}") for name, item in value.items())
    return next((where for where in found if where), None)


@st.composite
def _typed_dicts(draw: st.DrawFn, annotation: Any) -> dict[str, Any]:
    """All required keys and a few of the others: with all forty fields of a request, hardly any would get through."""
    hints = te.get_type_hints(annotation, include_extras=True)
    required = _required(hints)
    optional = sorted(hints.keys() - required)
    chosen = draw(st.sets(st.sampled_from(optional), max_size=_MAX_OPTIONAL)) if optional else set()
    return {name: draw(values_of(hints[name])) for name in sorted(required | chosen)}


def _required(hints: Mapping[str, Any]) -> set[str]:
    """`__required_keys__` is of no use: the packages write their annotations as strings."""
    return {name for name, hint in hints.items() if te.get_origin(hint) is te.Required}


def _bare(annotation: Any) -> Any:
    while te.get_origin(annotation) in (te.Required, te.NotRequired, te.Annotated):
        annotation = te.get_args(annotation)[0]
    return annotation


def _is_list(annotation: Any) -> bool:
    name = getattr(te.get_origin(annotation), "__name__", "")
    return te.get_origin(annotation) in _LISTS or name in ("Iterable", "Sequence", "SequenceNotStr", "list")
