"""Writes `share`: completion of every command for bash, zsh and fish, and its man page.

    make shell

A test compares what is written with the parsers. A wheel brings the files to where shells and man
look for them: see docs/how-to/shell.md.
"""

from pathlib import Path

from shell_commands import commands
from shell_completion import bash, fish, zsh
from shell_manual import manual

SHARE = Path(__file__).parent / "share"


def files() -> dict[str, str]:
    """Return the text of every file, by its path in `share`."""
    every = commands()
    found = dict[str, str]()
    for command in every:
        name = command.name
        others = [other.name for other in every if other is not command]
        made = f'Made of the parser of {name} by "make shell": change that, not this.\n'
        found |= {
            f"man/man1/{name}.1": f'.\\" {made}' + manual(command, others),
            f"bash-completion/completions/{name}": f"# {made}" + bash(command),
            f"zsh/site-functions/_{name}": f"#compdef {name}\n# {made}" + zsh(command),
            f"fish/vendor_completions.d/{name}.fish": f"# {made}" + fish(command),
        }
    return found


def main() -> None:
    """Write them, and remove those of commands that are no more."""
    written = {SHARE / name: text for name, text in files().items()}
    for path in [path for path in SHARE.rglob("*") if path.is_file() and path not in written]:
        path.unlink()
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
