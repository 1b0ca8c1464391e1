"""What bash, zsh and fish are told of a command.

Own code, and little: no command has subcommands. What libraries write for all parsers completes no
second picture in zsh and no `--format=json` in bash, and breaks names at spaces.
"""

from shell_commands import Command, Flag

BASH = """\
_{function}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} end=$COMP_CWORD i
    local flag= taken=0 behind= words= files= folders=
    # Bash ends words at : and = too.
    [[ $word == [:=] ]] && word= end=$((end + 1))
    for ((i = 1; i < end; i++)); do
        case ${{COMP_WORDS[i]}} in
            --) flag=-- && break ;;
            -?*) flag=${{COMP_WORDS[i]}} taken=0 behind= ;;
            =) ((taken == 0)) || behind== ;;
            :) taken=$((taken - 1)) behind=: ;;
            *) taken=$((taken + 1)) behind= ;;
        esac
    done
    if [[ $word == -* && $flag != -- ]]; then
        words='{flags}'
    else
        case $taken:$flag in
{cases}
        esac
    fi
    [[ $behind ]] && words=
    mapfile -t COMPREPLY < <(
        compgen -W "$words" -- "$word"
        [[ $files ]] && compgen -f -X "!$files" -- "$word"
        [[ $folders ]] && compgen -d -- "$word"
    )
    [[ $files || $folders ]] && compopt -o filenames -o default 2> /dev/null
    [[ ${{COMPREPLY[0]-}} == *[:=] ]] && compopt -o nospace 2> /dev/null
    return 0
}}
complete -F _{function} {name}
"""


def bash(command: Command) -> str:
    """Return the function that bash calls, which sets COMPREPLY."""
    cases: dict[str, list[str]] = {}
    for flag in command.flags:
        if flag.value:
            taken = "*" if flag.many else "0"
            cases.setdefault(_bash_values(flag), []).append(f"{taken}:{flag.names[-1]}")
    lines = [f"            {' | '.join(names)}) {does};;" for does, names in cases.items()]
    lines += [f"            *) {_bash_values(flag)};;" for flag in command.arguments[:1]]
    return BASH.format(
        function=command.name.replace("-", "_"),
        name=command.name,
        flags=" ".join(name for flag in command.flags for name in flag.names),
        cases="\n".join(lines),
    )


def _bash_values(flag: Flag) -> str:
    found = ""
    if flag.words:
        found += f"words='{' '.join(flag.words)}' "
    if flag.files:
        found += f"files='{flag.files}' "
    if flag.folders or flag.files not in ("", "*"):
        found += "folders=yes "
    if _behind_a_colon(flag):
        found += "&& [[ $behind ]] && files='*' "
    return found


def zsh(command: Command) -> str:
    """Return the file that zsh loads as the function of its name."""
    specs = [_zsh_flag(flag) for flag in command.flags]
    specs += [_quoted("*" * flag.many + f":{_zsh_values(flag)}") for flag in command.arguments]
    # What a flag takes beside its first value belongs, for zsh, to no flag.
    several = [flag for flag in command.flags if flag.many and flag.words]
    if several:
        cases = "".join(f"({flag.names[0]}*) {_zsh_found(flag)} ;; " for flag in several)
        found = f"{{case ${{words[(R)-*]}} in {cases}esac}}"
        specs.append(_quoted(f"*:value:{_escaped(found, ':')}"))
    return "_arguments -S : \\\n    " + " \\\n    ".join(specs) + "\n"


def _zsh_flag(flag: Flag) -> str:
    help = f"[{_escaped(flag.help, '[]:')}]" * bool(flag.help)
    ends = "(- *)" * (flag.names[-1] in ("--help", "--version"))
    if len(flag.names) > 1:
        return f"{_quoted(ends)}{{{','.join(flag.names)}}}{_quoted(help)}"
    if not flag.value:
        return _quoted(f"{ends}{flag.names[0]}{help}")
    again = "*" * (flag.again or flag.many)
    return _quoted(f"{again}{flag.names[0]}={help}:{_zsh_values(flag)}")


def _zsh_values(flag: Flag) -> str:
    """A message, and what finds values."""
    message = "value" if flag.value[0] == "{" else flag.value.split(" ")[0].strip("[]")
    found = _zsh_found(flag)
    return f"{_escaped(message, ':')}:{_escaped(f'{{{found}}}' if flag.words else found, ':')}"


def _zsh_found(flag: Flag) -> str:
    files = "_files" if flag.files == "*" else f'_files -g "{flag.files}"' if flag.files else ""
    if not flag.words:
        return "_files -/" if flag.folders else files or " "
    going_on = " ".join(word for word in flag.words if word.endswith((":", "=")))
    done = " ".join(word for word in flag.words if not word.endswith((":", "=")))
    found = [f"compadd - {done}"] * bool(done) + [files] * bool(files)
    if going_on:
        behind = "_files" if _behind_a_colon(flag) else "_message value"
        found.append(f'compadd -S "" - {going_on}')
        return f'if compset -P "*[:=]"; then {behind}; else {"; ".join(found)}; fi'
    return "; ".join(found)


def _behind_a_colon(flag: Flag) -> bool:
    """Whether a word of it is gone on with by a name of a file, as `imagefolder:photos` is."""
    return any(word.endswith(":") for word in flag.words)


def _escaped(text: str, special: str) -> str:
    return "".join(f"\\{letter}" if letter in f"\\{special}" else letter for letter in text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def fish(command: Command) -> str:
    """Return a line or more for every flag."""
    start = f"complete -c {command.name}"
    lines = [] if any(flag.files for flag in command.arguments) else [f"{start} -f"]
    for flag in command.flags:
        names = " ".join(f"-l {n[2:]}" if n[:2] == "--" else f"-s {n[1:]}" for n in flag.names)
        values = f" -r{_fish_values(flag)}" * bool(flag.value)
        text = f" -d '{_escaped(flag.help, chr(39))}'" * bool(flag.help)
        lines.append(f"{start} {names}{values}{text}")
        if _behind_a_colon(flag):
            behind = """-n 'string match -q "*:*" -- (commandline -ct)'"""
            lines.append(f"{start} {names} -r -F {behind}")
        if flag.many and flag.words:
            last = f'{flag.names[0]} (commandline -poc | string match -- "-*")[-1]'
            lines.append(f"{start} -n 'string match -q -- {last}'{_fish_values(flag)}")
    return "\n".join(lines) + "\n"


def _fish_values(flag: Flag) -> str:
    words = f" -a '{' '.join(flag.words)}'" * bool(flag.words)
    folders = " -a '(__fish_complete_directories)'" * flag.folders
    return words + folders + (" -F" if flag.files else " -f")
