"""Options under headings, for commands with too many for one list. It knows nothing of any command."""

from typing import Any

import click


class GroupedOption(click.Option):
    """An option that `--help` shows under the heading `group`."""

    def __init__(self, *names: Any, group: str, **attributes: Any):
        super().__init__(*names, **attributes)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help has one list of options per group, in the order in which they come; others come last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups.setdefault(getattr(parameter, "group", ""), []).append(record)
        others = groups.pop("", [])
        for heading, records in [*groups.items(), ("Other options", others)]:
            with formatter.section(heading):
                formatter.write_dl(records)


def options_of(group: str, *options: tuple[tuple[str, ...], dict[str, Any]]) -> list[Any]:
    """Decorators for the options of one group, each given as its names and its attributes."""
    return [click.option(*names, cls=GroupedOption, group=group, **attributes) for names, attributes in options]
