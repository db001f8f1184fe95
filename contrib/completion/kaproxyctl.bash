# Completion of kaproxyctl(8) for bash. Names are those of the kaproxy that runs.

# Sets the array `words`: those up to the cursor, which bash takes apart at COMP_WORDBREAKS (unix:/X,
# --pool=X), put together again.
_kaproxyctl_words()
{
    local line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    return 0
}

# The names in a list, asked for with those options of the line that say where kaproxy is.
_kaproxyctl_names()
{
    local where=() i
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        case ${words[i]} in
        -s | --socket | -c | --config)
            ((i + 1 < ${#words[@]} - 1)) && where+=("${words[i]}" "${words[i + 1]}")
            ;;
        --socket=* | --config=*) where+=("${words[i]}") ;;
        esac
    done
    "${words[0]}" "${where[@]}" --max-time 1 "$1" --names 2>/dev/null
}

# The verb of the line, if it has one already.
_kaproxyctl_verb()
{
    local i
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        case ${words[i]} in
        -s | --socket | -c | --config | --max-time | --pool | --host | --listener | --timeout | \
            -i | --interval | -n | --count)
            ((i++))
            ;;
        -*) ;;
        *)
            echo "${words[i]}"
            return
            ;;
        esac
    done
}

# Candidates that begin as the word does; one that bash has taken apart is given back without the
# part in front.
_kaproxyctl_reply()
{
    local word=$1 front candidate
    shift
    front=${word%"${word##*[:=]}"}
    COMPREPLY=()
    for candidate; do
        [[ $candidate == "$word"* ]] || continue
        [[ $COMP_WORDBREAKS == *:* ]] && candidate=${candidate#"$front"}
        COMPREPLY+=("$candidate")
    done
}

_kaproxyctl()
{
    local words current previous verb candidates=()
    _kaproxyctl_words
    current=${words[-1]}
    previous=${words[-2]}
    if [[ $current == --*=* ]]; then
        previous=${current%%=*}
        current=${current#*=}
    fi
    case $previous in
    -s | --socket)
        _kaproxyctl_reply "$current" unix: 127.0.0.1:
        compopt -o nospace
        return
        ;;
    -c | --config)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        compopt -o filenames
        return
        ;;
    --pool) mapfile -t candidates < <(_kaproxyctl_names pools) ;;
    --host) mapfile -t candidates < <(_kaproxyctl_names hosts) ;;
    --listener) mapfile -t candidates < <(_kaproxyctl_names listeners) ;;
    --max-time | --timeout | -i | --interval | -n | --count) return ;;
    *)
        verb=$(_kaproxyctl_verb)
        if [[ $current != -* ]]; then
            case $verb in
            "") candidates=(status pools hosts listeners sessions top metrics pause resume
                reconnect drain log-level help) ;;
            log-level) candidates=(error warning notice info debug) ;;
            esac
        else
            candidates=(--socket --config --max-time --help --version)
            case $verb in
            status) candidates+=(--json --check) ;;
            pools | hosts | listeners) candidates+=(--json --names) ;;
            sessions | log-level) candidates+=(--json) ;;
            top) candidates+=(--batch --count --interval) ;;
            resume | reconnect) candidates+=(--json --pool --host --listener) ;;
            pause | drain) candidates+=(--json --pool --host --listener --wait --no-wait --timeout) ;;
            esac
        fi
        ;;
    esac
    _kaproxyctl_reply "$current" "${candidates[@]}"
}

complete -F _kaproxyctl kaproxyctl
