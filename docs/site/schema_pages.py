"""The reference of the documents that ambiseg writes, read from their pydantic models."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from markup import code, plain, table
from pydantic import BaseModel

from ambiseg.models.cohort.batch_folder import BatchRecord, NotPredicted
from ambiseg.models.cohort.joining import TablesRecord
from ambiseg.models.evaluation.summary_document import EvaluationSummary
from ambiseg.models.growth.course import GrowthDocument
from ambiseg.models.prediction.document import Document
from ambiseg.models.runs.run_record import RunRecord
from ambiseg.preprocessing.store.manifest import Manifest

DOCUMENTS: dict[str, type[BaseModel]] = {
    "hypotheses.json": Document,
    "growth.json": GrowthDocument,
    "summary.json": EvaluationSummary,
    "run.json": RunRecord,
    "batch.json": BatchRecord,
    "not-predicted.json": NotPredicted,
    "tables.json": TablesRecord,
    "manifest.json": Manifest,
}
LIMITS = {
    "minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above", "exclusiveMaximum": "below",
    "minLength": "length at least", "maxLength": "length at most",
    "minItems": "items at least", "maxItems": "items at most",
}  # fmt: skip
NAMES = {"null": "null", "integer": "integer", "number": "number", "string": "string", "boolean": "true or false"}


def document(name: str) -> str:
    """The keys of a document, and of the parts within it, as Markdown."""
    schema = json_schema(name)
    parts = {part: found for part, found in schema.get("$defs", {}).items() if "properties" in found}
    return "\n".join([_keys(schema), *_parts(parts), _whole(schema)])


def json_schema(name: str) -> dict[str, Any]:
    """The JSON schema of a document."""
    return DOCUMENTS[name].model_json_schema(mode="validation", by_alias=True)


def kind(schema: Mapping[str, Any]) -> str:
    """What values a key takes, in words."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2].strip("_")
    if "const" in schema or "enum" in schema:
        return " or ".join(code(json.dumps(value)) for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind(one) for one in schema["anyOf"]))
    return _plain_kind(schema) + _limits(schema)


def _plain_kind(schema: Mapping[str, Any]) -> str:
    name = schema.get("type")
    if name == "array":
        if "prefixItems" in schema:
            return "list: " + ", ".join(kind(one) for one in schema["prefixItems"])
        return f"list of {kind(schema.get('items', {}))}"
    if name == "object":
        values = schema.get("additionalProperties")
        return f"object with values: {kind(values)}" if isinstance(values, dict) and values else "object"
    return NAMES.get(str(name), "any value")


def _limits(schema: Mapping[str, Any]) -> str:
    found = [f"{word} {schema[key]}" for key, word in LIMITS.items() if key in schema]
    return f" ({', '.join(found)})" if found else ""


def _keys(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", [])
    rows = (
        [code(key), kind(part), "" if key in required else _default(part), plain(part.get("description", ""))]
        for key, part in schema["properties"].items()
    )
    return table(["key", "value", "default", "meaning"], rows)


def _default(schema: Mapping[str, Any]) -> str:
    return code(json.dumps(schema["default"])) if "default" in schema else "may be absent"


def _parts(parts: Mapping[str, Any]) -> Iterator[str]:
    for name, part in parts.items():
        about = plain(part.get("description", "").split("\n\n")[0])
        yield f"**{name.strip('_')}.** {about}\n\n{_keys(part)}"


def _whole(schema: Mapping[str, Any]) -> str:
    text = json.dumps(schema, indent=2, ensure_ascii=False)
    return f"<details><summary>The same as JSON Schema</summary>\n\n```json\n{text}\n```\n\n</details>\n"
