# SPDX-License-Identifier: ISC
# Completion of kaproxyctl(8) for bash. Verbs and options are asked of the program, names of pools,
# upstreams and listeners of the kaproxy that runs, by the -s or -c on the line.

# Lines that kaproxyctl writes and that begin with the word. A colon is a word of its own to
# readline, unless it is quoted: what is before the last one must not be repeated. What a shell would
# not take for a word is none of kaproxy.ini's names.
_kaproxyctl_take() { # WORD ARGUMENT...
    local word=$1 line before=
    shift
    if [[ $COMP_WORDBREAKS == *:* && $word == *:* ]]; then
        before=${word%:*}:
    fi
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == "$word"* && $line != *[!][A-Za-z0-9._:/%+=-]* ]]; then
            COMPREPLY+=("$again${line#"$before"}")
        fi
    done < <("$program" "${where[@]}" --max-time 1 "$@" 2>/dev/null)
}

# What was typed, with the words together again that readline has cut at '=' and ':'.
_kaproxyctl_words() {
    local i
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        local word=${COMP_WORDS[i]} last=$((${#words[@]} - 1))
        if ((last >= 0)) && [[ $word == [:=]* || ${words[last]} == *[:=] ]] &&
            _kaproxyctl_touches "$i"; then
            words[last]+=$word
        else
            words+=("$word")
        fi
    done
}

# Is there no space before word number $1?
_kaproxyctl_touches() {
    local i rest=$COMP_LINE
    for ((i = 0; i < $1; i++)); do
        rest=${rest#*"${COMP_WORDS[i]}"}
    done
    [[ $rest == "${COMP_WORDS[$1]}"* ]]
}

_kaproxyctl() {
    local program=${1:-kaproxyctl} words where=() verb= i word before option= again=
    _kaproxyctl_words
    word=${words[-1]}
    before=${words[-2]-}
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        case ${words[i]} in
        -s | --socket | -c | --config)
            where+=("${words[i]}" "${words[i + 1]}")
            ((i++))
            ;;
        --socket=* | --config=*) where+=("${words[i]}") ;;
        -n | -i | --max-time | --pool | --host | --listener | --timeout | --count | --interval | --sort)
            ((i++))
            ;;
        -*) ;;
        *) verb=${verb:-${words[i]}} ;;
        esac
    done
    if [[ $word == --*=* ]]; then
        option=${word%%=*}
        word=${word#*=}
        if [[ $COMP_WORDBREAKS != *=* ]]; then
            again=$option=
        fi
    elif [[ $before == -* ]]; then
        option=$before
    fi
    case $option in
    --pool) _kaproxyctl_take "$word" pools --names ;;
    --host) _kaproxyctl_take "$word" hosts --names ;;
    --listener) _kaproxyctl_take "$word" listeners --names ;;
    --sort) _kaproxyctl_take "$word" complete "sort:$verb" ;;
    -s | --socket | -c | --config)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "${word#unix:}")
        ;;
    -n | -i | --max-time | --timeout | --count | --interval) COMPREPLY=() ;;
    *)
        if [[ $word == -* ]]; then
            _kaproxyctl_take "$word" complete "${verb:-help}"
        elif [[ -z $verb || $verb == help ]]; then
            _kaproxyctl_take "$word" complete verbs
        elif [[ $verb == log-level ]]; then
            mapfile -t COMPREPLY < <(compgen -W 'error warning notice info debug' -- "$word")
        fi
        ;;
    esac
}

complete -F _kaproxyctl kaproxyctl
