# What the guests say: one file per host and VM, and what it proves.

console_file() {
    echo "$lab/hosts/$1/var/log/libvirt/console/$2.log"
}

console_print() {
    local name=${1:?a VM must be named} host file
    for host in $(host_names); do
        file=$(console_file "$host" "$name")
        [[ -e $file ]] && sed "s/^/$host: /" "$file"
    done
    return 0
}

# boots: distinct boot ids. last: the host of the newest heartbeat, by the guest's own tick.
# both: heartbeats with the same tick on two hosts, which only a VM that runs twice can print.
console_check() {
    local name=${1:?a VM must be named}
    console_print "$name" | tr -d '\r' | awk -v vm="$name" '
        { host = $1; sub(/:$/, "", host) }
        # A guest that moved in the middle of a line left its beginning behind: not a heartbeat.
        $2 == "BEAT" && NF == 6 && $6 ~ /^written=/ {
            beats++
            ids[$3] = 1
            split($4, tick, "=")
            seen = $3 " " tick[2]
            if (seen in where && where[seen] != host) both++
            where[seen] = host
            if (tick[2] + 0 >= newest) { newest = tick[2] + 0; last = host }
        }
        $2 == "OK" { passes++ }
        $2 == "CORRUPT" { corrupt++ }
        /Kernel panic|Oops|BUG:/ { panics++ }
        END {
            for (id in ids) boots++
            printf "{\"vm\":\"%s\",\"boots\":%d,\"beats\":%d,\"newest_tick\":%d,\"last\":\"%s\",\"passes\":%d,\"corrupt\":%d,\"panics\":%d,\"both\":%d}\n",
                vm, boots, beats, newest, last, passes, corrupt, panics, both
        }'
}
