"""Options that are declared once: the command line, the environment, the check and the table."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

import pytest
import typer
from typer.testing import CliRunner

from tactful.errors import InputError, TactfulError
from tactful.options import check_options, declared, option, options_table, takes_options


@dataclasses.dataclass(frozen=True, kw_only=True)
class Oven:
    environment: ClassVar[str] = "OVEN_"

    heat: int = option(180, "How hot it gets.", least=30, most=250)
    racks: int | None = option(None, "How many go in.", least=1)
    mode: Literal["fan", "grill"] = option("fan", "From where, fan|grill.")
    door_open: bool = option(False, "Whether it is open.")
    light_on: bool = option(True, "Whether it shines.")
    colour: str = "white"

    def __post_init__(self) -> None:
        check_options(self)


@dataclasses.dataclass(frozen=True)
class Timer:
    minutes: int = option(10, "How long.", least=0)

    def __post_init__(self) -> None:
        check_options(self, lambda message: InputError("timer", message))


def bake(arguments: list[str], **variables: str) -> tuple[str, Oven, Timer, bool]:
    got = []

    @takes_options
    def command(
        dish: Annotated[str, typer.Argument()], oven: Oven, timer: Timer, dry: bool = False
    ) -> None:
        """Bake."""
        got.append((dish, oven, timer, dry))

    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, arguments, env=variables, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return got[0] if got else done.output


def test_a_command_takes_the_options_of_each_dataclass_beside_its_own() -> None:
    assert bake(["pie"]) == ("pie", Oven(), Timer(), False)
    flags = ["--heat", "200", "--racks", "2", "--mode", "grill", "--door-open", "--no-light-on"]
    dish, oven, timer, dry = bake(["pie", *flags, "--minutes", "5", "--dry"])
    assert oven == Oven(heat=200, racks=2, mode="grill", door_open=True, light_on=False)
    assert (dish, timer, dry) == ("pie", Timer(5), True)
    help = bake(["--help"])
    assert "How hot it gets." in help
    assert "colour" not in help


def test_the_environment_is_read_where_the_dataclass_names_one() -> None:
    _, oven, timer, _ = bake(["pie"], OVEN_HEAT="99", OVEN_MODE="grill", MINUTES="3")
    assert (oven.heat, oven.mode, timer.minutes) == (99, "grill", 10)
    assert bake(["pie", "--heat", "50"], OVEN_HEAT="99")[1].heat == 50


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("heat", 20, "--heat is 20, allowed: 30 to 250"),
        ("heat", 251, "--heat is 251, allowed: 30 to 250"),
        ("racks", 0, "--racks is 0, allowed: at least 1"),
        ("mode", "steam", "--mode is 'steam', allowed: fan, grill"),
    ],
)
def test_what_is_out_of_bounds_is_named_whoever_gave_it(name, value, message) -> None:
    with pytest.raises(TactfulError) as caught:
        Oven(**{name: value})
    assert str(caught.value) == message
    with pytest.raises(TactfulError) as caught:
        bake(["pie", f"--{name}", str(value)])
    assert str(caught.value) == message
    with pytest.raises(InputError, match="--minutes is -1, allowed: at least 0"):
        Timer(-1)


def test_the_table_has_a_row_for_each_option() -> None:
    assert options_table(Oven).splitlines() == [
        "| flag | variable | default | allowed | what it is for |",
        "| --- | --- | --- | --- | --- |",
        "| `--heat` | `OVEN_HEAT` | `180` | 30 to 250 | How hot it gets. |",
        "| `--racks` | `OVEN_RACKS` |  | at least 1 | How many go in. |",
        "| `--mode` | `OVEN_MODE` | `fan` | fan, grill | From where, fan\\|grill. |",
        "| `--door-open` | `OVEN_DOOR_OPEN` | `False` |  | Whether it is open. |",
        "| `--light-on` | `OVEN_LIGHT_ON` | `True` |  | Whether it shines. |",
    ]
    assert [one.name for one in declared(Timer)] == ["minutes"]
    assert options_table(Timer).startswith("| flag | default |")
