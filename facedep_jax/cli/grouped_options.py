"""Help of a command with many options: a list for each group, in the order in which they come; others come last."""

from typing import Any

import click

from facedep_jax.cli.command import Command, ComputingCommand


class Grouped(click.Command):
    """A command whose help has one list of options per group."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lists."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups.setdefault(getattr(parameter, "group", ""), []).append(record)
        others = groups.pop("", [])
        for heading, records in [*groups.items(), ("Other options", others)]:
            with formatter.section(heading):
                formatter.write_dl(records)


class GroupedCommand(Grouped, Command):
    """See `Command`."""


class GroupedComputingCommand(Grouped, ComputingCommand):
    """See `ComputingCommand`."""


class GroupedOption(click.Option):
    """An option that `--help` shows under the heading `group`."""

    def __init__(self, *names: Any, group: str, **attributes: Any):
        super().__init__(*names, **attributes)
        self.group = group
