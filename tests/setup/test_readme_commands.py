"""Whatever README tells to type exists: make targets, commands and their options."""

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ENDS_A_COMMAND = {"|", "||", "&&", ";", "&", ">", ">>", "<", "2>", "2>&1"}


def shell_commands(markdown: str) -> list[list[str]]:
    """The words of each command in the ```sh blocks: no comments, no prompts, split at pipes and such."""
    blocks = re.findall(r"^```sh\n(.*?)^```", markdown, flags=re.DOTALL | re.MULTILINE)
    commands: list[list[str]] = []
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in shlex.split(line.removeprefix("$ "), comments=True):
            if word in ENDS_A_COMMAND:
                commands.append(words)
                words = []
            else:
                words.append(word)
        commands.append(words)
    return [words for words in commands if words]


README = (REPOSITORY / "README.md").read_text() if (REPOSITORY / "README.md").exists() else ""
COMMANDS = shell_commands(README)
MAKE_COMMANDS = [words for words in COMMANDS if words[0] == "make"]
DTSS_COMMANDS = [words for words in COMMANDS if Path(words[0]).name.startswith("dtss-")]


@cache
def help_of(*command: str) -> str:
    program = Path(sys.executable).with_name(Path(command[0]).name)
    answer = subprocess.run(
        [program, *command[1:], "--help"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_readme_says_how_to_start() -> None:
    assert ["make", "demo"] in COMMANDS
    assert ["make", "test"] in COMMANDS


@pytest.mark.parametrize("words", MAKE_COMMANDS, ids=shlex.join)
def test_make_target_exists(words: list[str]) -> None:
    targets = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
    declared = re.findall(r"^\.PHONY: (.*)$", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(targets) <= set(" ".join(declared).split())


@pytest.mark.parametrize("words", DTSS_COMMANDS, ids=shlex.join)
def test_command_knows_its_options(words: list[str]) -> None:
    command, *arguments = words
    subcommand = [argument for argument in arguments[:1] if f"{argument}," in subcommands(command)]
    text = help_of(command, *subcommand)
    options = [argument.split("=")[0] for argument in arguments if re.match(r"--?[a-zA-Z]", argument)]
    unknown = [option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", text)]
    assert not unknown


def subcommands(command: str) -> str:
    """`generate,verify,synth,` of a usage that says {generate,verify,synth}."""
    choices = re.search(r"\{([\w,-]+)\} \.\.\.", " ".join(help_of(command).split()))
    return f"{choices[1]}," if choices else ""


def test_commands_are_found_in_blocks_alone() -> None:
    markdown = (
        "run `make nothing`\n```sh\n# first\nmake demo  # then\n$ dtss-sim a.json \\\n  --json | head\n```\n"
    )
    assert shell_commands(markdown) == [["make", "demo"], ["dtss-sim", "a.json", "--json"], ["head"]]
