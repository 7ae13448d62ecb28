"""`ambiseg methods`: the methods that can be trained, and their options."""

from typing import Annotated

import typer

from ..terminal.console import emit_json, out


def methods(
    name: Annotated[str | None, typer.Argument(help="A method, to list its options.", show_default="list all")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: the list, or the JSON schema of a method's options.")
    ] = False,
) -> None:
    """List the methods, or the options of one method with their defaults."""
    from rich.table import Table

    from ambiseg.models.methods.constructor import options_model
    from ambiseg.models.methods.registry import find_method, unusable_methods
    from ambiseg.models.methods.registry import methods as all_methods

    if name is None:
        summaries = {key: method.summary for key, method in all_methods().items()}
        if as_json:
            emit_json(summaries)
            return
        table = Table("method", "what it is", box=None)
        for key, summary in summaries.items():
            table.add_row(key, summary)
        for unusable in unusable_methods():
            table.add_row(unusable.name, str(unusable))
        out(table)
        return
    model = options_model(find_method(name))
    if as_json:
        emit_json(model.model_json_schema())
        return
    table = Table("option", "default", "what it does", title=find_method(name).summary, title_justify="left", box=None)
    for key, field in model.model_fields.items():
        table.add_row(key, str(field.default), field.description or "")
    out(table)
