# Messages, checks, waiting, units, and the life of a namespace.

fail() {
    echo "lab: $*" >&2
    exit 1
}

# The value of the option that stands first.
argument() {
    (($# >= 2)) || fail "$1 needs a value"
    echo "$2"
}

require_root() {
    ((EUID == 0)) || fail "the lab makes namespaces: run it as root"
}

require_installed() {
    local program
    [[ -e $cache/vmlinuz && -e $cache/initrd && -x $cache/wan-delay ]] || fail "run $here/install first"
    for program in libvirtd virsh qemu-system-x86_64 ip tc iptables-legacy nsenter unshare; do
        command -v "$program" >/dev/null || fail "$program is missing; run $here/install first"
    done
}

require_host() {
    [[ -n ${1:-} ]] || fail "a host must be named"
    [[ -d $lab/hosts/$1 ]] || fail "there is no host $1; there are: $(host_names | tr '\n' ' ')"
}

# wait_until SECONDS WHAT CMD...: polls until the command succeeds.
wait_until() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS <= deadline)) || fail "waited in vain: $what"
        sleep 0.05
    done
}

parse_rate() {
    local rate=${1,,} scale
    [[ $rate =~ ^([0-9]+)([kmg])bit$ ]] || fail "a rate is e.g. 500kbit, 200mbit or 1gbit; got $1"
    case ${BASH_REMATCH[2]} in
        k) scale=1000 ;;
        m) scale=1000000 ;;
        g) scale=1000000000 ;;
    esac
    echo $((BASH_REMATCH[1] * scale))
}

parse_rtt() {
    [[ $1 =~ ^([0-9]+)ms$ ]] || fail "a round trip time is e.g. 20ms; got $1"
    echo "${BASH_REMATCH[1]}"
}

parse_loss() {
    [[ $1 =~ ^([0-9]+)ppm$ ]] || fail "loss is in packets per million, e.g. 500ppm; got $1"
    echo "${BASH_REMATCH[1]}"
}

uuid_of() {
    local digest
    digest=$(printf 'lifeboat-lab %s' "$1" | md5sum)
    echo "${digest:0:8}-${digest:8:4}-4${digest:13:3}-a${digest:17:3}-${digest:20:12}"
}

# Whether the process in the pid file is still one of this lab: process ids are used again.
namespace_lives() {
    [[ -e $1 ]] && tr '\0' ' ' 2>/dev/null <"/proc/$(<"$1")/cmdline" | grep -qF -- "$1"
}

# Starts an init in new namespaces: namespace_start PID_FILE LOG UNSHARE_FLAG... -- INIT ARG...
# The init writes its own process id, as the machine sees it, into PID_FILE, its first argument.
namespace_start() {
    local pid_file=$1 log=$2
    local -a flags=()
    shift 2
    while [[ $1 != -- ]]; do
        flags+=("$1")
        shift
    done
    shift
    rm -f "$pid_file"
    setsid unshare "${flags[@]}" --pid --fork --kill-child bash "$1" "$pid_file" "${@:2}" \
        </dev/null >>"$log" 2>&1 &
    wait_until 10 "start of ${log##*/}" test -s "$pid_file"
}

# Kills an init, and with it everything in its process namespace, and waits for its end.
end_namespace() {
    local pid
    if namespace_lives "$1"; then
        pid=$(<"$1")
        kill -KILL "$pid"
        wait_until 20 "end of process $pid" test ! -e "/proc/$pid"
    fi
    rm -f "$1"
}
