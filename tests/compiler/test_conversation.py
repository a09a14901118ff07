"""Conversations with programs: their answers, and a name for each of their ends."""

import pytest
from budgetc.measure.conversation import BinaryError, Conversation
from budgetc_specs.errors import InternalError, TargetUnreachableError
from budgetc_targets.contract import UNREACHABLE

PROGRAM = f"""
echo ok ready $1
while read -r what; do
    case "$what" in
    echo*) echo "ok $what" ;;
    refuse) echo "error not today" ;;
    crash) kill -SEGV $$ ;;
    leave) echo why >&2; exit 3 ;;
    lose) echo the cable is out >&2; exit {UNREACHABLE} ;;
    sleep) sleep 60 ;;
    esac
done
"""


def talk(where="", seconds=60.0):
    return Conversation(["sh", "-c", PROGRAM, "program", where], "a program", seconds)


def test_it_answers_and_says_where_it_runs():
    with talk("on board:7") as program:
        assert program.machine == "board:7"
        assert program.ask("echo 1 2") == ["echo", "1", "2"]
        first = program.process_id
        program.restart()
        assert program.process_id != first
        assert program.folder.is_dir()
    assert not program.folder.exists()


def test_here_it_has_no_name():
    with talk() as program:
        assert program.machine == ""


@pytest.mark.parametrize(
    ("line", "message", "cause"),
    [
        ("refuse", "a program: `refuse` failed: not today", "refused"),
        ("crash", "a program was killed by SIGSEGV during `crash`", "SIGSEGV"),
        ("leave", "a program ended with exit code 3 during `leave`:\nwhy", "exit"),
    ],
)
def test_each_end_has_a_name(line, message, cause):
    with talk() as program, pytest.raises(BinaryError) as caught:
        program.ask(line)
    assert (caught.value.message, caught.value.cause) == (message, cause)


def test_a_program_that_takes_too_long():
    with talk(seconds=0.2) as program, pytest.raises(BinaryError, match="did not end") as caught:
        program.ask("sleep")
    assert caught.value.cause == "timeout"


def test_a_device_that_is_lost():
    with talk() as program, pytest.raises(TargetUnreachableError, match="the cable is out"):
        program.ask("lose")


def test_a_program_that_is_another_one():
    with pytest.raises(InternalError, match="did not announce itself"), talk("steady"):
        pass
