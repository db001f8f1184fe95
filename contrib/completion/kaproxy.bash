# SPDX-License-Identifier: ISC
# Completion of kaproxy(8) for bash.

_kaproxy() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    if [[ $before == -c ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '-c -t -v -V -h' -- "$word")
    fi
}

complete -F _kaproxy kaproxy
