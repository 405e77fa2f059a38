# Hosts: namespaces, a cable to the site's bridge, and a libvirtd of their own.

host_names() {
    local directory
    for directory in "$lab"/hosts/*/; do
        [[ -d $directory ]] && basename "$directory"
    done
}

# Runs a function for every host at once; fails if one fails.
on_each_host() {
    local host pid
    local -a running=()
    for host in $(host_names); do
        "$1" "$host" &
        running+=($!)
    done
    for pid in "${running[@]}"; do wait "$pid"; done
}

host_lives() {
    namespace_lives "$lab/hosts/$1/pid"
}

host_table() {
    local host state
    for host in $(host_names); do
        state=dead
        if host_lives "$host"; then state=up; fi
        echo "$host $(<"$lab/hosts/$host/site") $(<"$lab/hosts/$host/ip") $state"
    done
}

host_start() {
    require_host "${1:-}"
    local name=$1 host=$lab/hosts/$1
    ! host_lives "$name" || fail "host $name is up already"
    # What a power cut takes: everything below /run. What it leaves: the rest.
    rm -rf --one-file-system "$host/run"
    mkdir -p "$host"/{cgroup,run,etc/libvirt,etc/lifeboat,var/lib/lifeboat} \
        "$host"/var/{lib,cache}/libvirt "$host/var/log/libvirt/console"
    host_configure_libvirt "$name"
    namespace_start "$host/pid" "$host/init.log" --net --mount --uts -- \
        "$here/lib/host-init" "$name" "$host" "$lab"
    wan_plug "$name"
    host_libvirtd "$name" start
}

host_configure_libvirt() {
    local name=$1 etc=$lab/hosts/$1/etc/libvirt ip keepalive
    ip=$(<"$lab/hosts/$name/ip")
    keepalive=$(<"$lab/keepalive")
    cat >"$etc/libvirtd.conf" <<CONF
listen_tls = 0
listen_tcp = 1
listen_addr = "0.0.0.0"
auth_tcp = "none"
auth_unix_rw = "none"
host_uuid = "$(uuid_of "host $name")"
keepalive_interval = ${keepalive%x*}
keepalive_count = ${keepalive#*x}
CONF
    cat >"$etc/qemu.conf" <<CONF
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
migration_host = "$ip"
migration_address = "0.0.0.0"
keepalive_interval = ${keepalive%x*}
keepalive_count = ${keepalive#*x}
CONF
}

# Enters the namespaces of a host that lives: host_enter HOST CMD...
host_enter() {
    local name=$1
    shift
    require_host "$name"
    host_lives "$name" || fail "host $name has no power; see: lab power-on"
    nsenter --target "$(<"$lab/hosts/$name/pid")" --net --mount --uts --pid --wdns="$PWD" -- "$@"
}

host_exec() {
    local name=${1:-}
    [[ ${2:-} == -- && $# -ge 3 ]] || fail "usage: lab exec HOST -- CMD..."
    host_enter "$name" "${@:3}"
}

host_spawn() {
    local name=${1:-} task=${2:-}
    [[ ${3:-} == -- && $# -ge 4 && $task =~ ^[A-Za-z0-9._-]+$ ]] || fail "usage: lab spawn HOST NAME -- CMD..."
    require_host "$name"
    local base=$lab/hosts/$name/spawn/$task
    rm -f "$base.exit"
    # The command's parent stays to note how it ended; the pid is the command's, inside the host.
    # shellcheck disable=SC2016
    host_enter "$name" bash -c '
        base=$1
        shift
        exec </dev/null >>"$base.log" 2>&1
        (
            "$@" &
            echo $! >"$base.pid.new"
            mv "$base.pid.new" "$base.pid"
            code=0
            wait $! || code=$?
            echo "$code" >"$base.exit"
        ) &
        disown
    ' spawn "$base" "${@:4}"
    wait_until 5 "start of $task on $name" test -s "$base.pid"
}

host_kill() {
    local name=${1:-} task=${2:-} signal=${3:-TERM}
    require_host "$name"
    local pid_file=$lab/hosts/$name/spawn/$task.pid
    [[ -s $pid_file ]] || fail "nothing named $task was spawned on $name"
    host_enter "$name" kill -s "$signal" "$(<"$pid_file")"
}

host_power_cut() {
    require_host "${1:-}"
    end_namespace "$lab/hosts/$1/pid"
}

host_libvirtd_answers() {
    host_enter "$1" virsh -q -c qemu:///system list
}

host_libvirtd() {
    local name=${1:-}
    require_host "$name"
    case ${2:-} in
        start)
            host_spawn "$name" libvirtd -- libvirtd --listen
            wait_until 30 "libvirtd on $name" host_libvirtd_answers "$name"
            ;;
        stop) host_kill "$name" libvirtd TERM ;;
        kill) host_kill "$name" libvirtd KILL ;;
        *) fail "usage: lab libvirtd HOST start|stop|kill" ;;
    esac
}

host_link() {
    require_host "${1:-}"
    [[ ${2:-} == up || ${2:-} == down ]] || fail "usage: lab link HOST down|up"
    wan_enter ip link set "h-$1" "$2"
}

host_list_vms() {
    local host
    for host in $(host_names); do
        echo "== $host"
        if host_lives "$host"; then
            host_enter "$host" virsh -q -c qemu:///system list --all || true
        else
            echo "no power"
        fi
    done
}
