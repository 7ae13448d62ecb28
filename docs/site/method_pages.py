"""The reference of the methods and their options, read from the registry."""

from typing import Any

from markup import code, plain, table
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from schema_pages import kind

from ambiseg.models.methods.constructor import options_model
from ambiseg.models.methods.registry import methods


def all_methods() -> str:
    """Every method with its summary and its options, as Markdown."""
    rows = ([f"[{code(name)}](#{name})", plain(method.summary)] for name, method in methods().items())
    return "\n".join([table(["method", "what it is"], rows), *(one_method(name, 2) for name in methods())])


def one_method(name: str, level: int) -> str:
    """The section of one method."""
    model = options_model(methods()[name])
    schema = model.model_json_schema()["properties"] if model.model_fields else {}
    text = f"{'#' * level} `{name}`\n\n{plain(methods()[name].summary)} [About this method](../methods/{name}.md).\n\n"
    if not schema:
        return text + "This method has no options.\n"
    rows = (_row(name, key, field, schema[key]) for key, field in model.model_fields.items())
    return text + table(["option", "type", "default", "meaning"], rows)


def _row(name: str, key: str, field: FieldInfo, schema: dict[str, Any]) -> list[str]:
    if not field.description:
        raise ValueError(f"The option `{key}` of the method `{name}` has no description.")
    default = field.get_default(call_default_factory=True)
    shown = default.model_dump() if isinstance(default, BaseModel) else default
    return [code(key), kind(schema), code(str(shown)), plain(field.description)]
