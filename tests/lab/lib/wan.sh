# The WAN: one namespace with a bridge per site and a router between the bridges.
#
#   host eth0 -- h-HOST [bridge b-SITE] u-SITE -- w-SITE (router)
#
# u-SITE shapes what leaves the site, w-SITE what enters it; hosts of one site are not shaped among
# themselves. What the router forwards waits in the delay program for half a round trip.

delay_queue=7

wan_enter() {
    namespace_lives "$lab/wan-pid" || fail "no lab is up in $lab"
    nsenter --target "$(<"$lab/wan-pid")" --net --pid -- "$@"
}

site_names() {
    local file
    for file in "$lab"/sites/*; do
        [[ -e $file ]] && basename "$file"
    done
}

wan_start() {
    local rate=$1 rtt=$2 loss=$3 site gateway
    namespace_start "$lab/wan-pid" "$lab/wan.log" --net -- "$here/lib/wan-init"
    # Only w-SITE may answer for the gateway's address: the bridge itself would, and lead past u-SITE.
    wan_enter sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.arp_ignore=1
    # Where bridges hand their packets to iptables, each would be held on every bridge as well.
    if wan_enter test -e /proc/sys/net/bridge/bridge-nf-call-iptables; then
        wan_enter sysctl -qw net.bridge.bridge-nf-call-iptables=0
    fi
    wan_enter ip link set lo up
    for site in $(site_names); do
        gateway=10.77.$(<"$lab/sites/$site").254
        wan_enter ip link add "b-$site" type bridge
        wan_enter ip link add "u-$site" type veth peer name "w-$site"
        wan_enter ip link set "u-$site" master "b-$site" up
        wan_enter ip link set "b-$site" up
        wan_enter ip link set "w-$site" up
        wan_enter ip addr add "$gateway/24" dev "w-$site"
    done
    echo "$rtt $loss" >"$lab/wan-settings"
    wan_write_delay
    wan_enter iptables-legacy -w -A FORWARD -j NFQUEUE --queue-num "$delay_queue"
    # shellcheck disable=SC2016
    wan_enter bash -c 'setsid "$@" </dev/null >>"$0/wan.log" 2>&1 & echo $! >"$0/delay-pid"' \
        "$lab" "$cache/wan-delay" "$delay_queue" "$lab/delay"
    wan_set --rate "$rate"
}

# Plugs a host that has just started into its site's bridge.
wan_plug() {
    local name=$1 host=$lab/hosts/$1 site gateway
    site=$(<"$host/site")
    gateway=10.77.$(<"$lab/sites/$site").254
    wan_enter ip link add "h-$name" type veth peer name eth0 netns "/proc/$(<"$host/pid")/ns/net"
    wan_enter ip link set "h-$name" master "b-$site" up
    host_enter "$name" ip -batch - <<COMMANDS
link set lo up
addr add $(<"$host/ip")/24 dev eth0
link set eth0 up
route add default via $gateway
COMMANDS
}

wan_command() {
    local command=${1:-}
    (($# == 0)) || shift
    case $command in
        set | cut | heal | stats) "wan_$command" "$@" ;;
        *) fail "usage: lab wan set|cut|heal|stats; see: lab help" ;;
    esac
}

wan_set() {
    local rate='' only='' site rtt loss
    read -r rtt loss <"$lab/wan-settings"
    while (($#)); do
        case $1 in
            --rate) rate=$(argument "$@") ;;
            --rtt) rtt=$(argument "$@") ;;
            --loss) loss=$(argument "$@") ;;
            --site) only=$(argument "$@") ;;
            *) fail "wan set does not know $1; see: lab help" ;;
        esac
        shift 2
    done
    echo "$rtt $loss" >"$lab/wan-settings"
    wan_write_delay
    wan_enter kill -HUP "$(<"$lab/delay-pid")"
    if [[ -n $rate ]]; then
        for site in ${only:-$(site_names)}; do
            wan_shape "u-$site" "$rate"
            wan_shape "w-$site" "$rate"
        done
    fi
}

wan_write_delay() {
    local rtt loss
    read -r rtt loss <"$lab/wan-settings"
    rtt=$(parse_rtt "$rtt")
    loss=$(parse_loss "$loss")
    echo "$((rtt * 500)) $loss" >"$lab/delay.new"
    mv "$lab/delay.new" "$lab/delay"
}

# A bucket of 2 ms in front of a queue of 50 ms, but never less than a few packets.
wan_shape() {
    local device=$1 bits burst limit
    bits=$(parse_rate "$2")
    burst=$((bits / 8 / 500))
    limit=$((bits / 8 / 20))
    ((burst >= 6000)) || burst=6000
    ((limit >= 100000)) || limit=100000
    wan_enter tc qdisc replace dev "$device" root handle 1: tbf rate "${bits}bit" burst "$burst" limit "$limit"
}

# Cutting comes after the delay, so that what is in flight is lost as well.
wan_cut() {
    local only='' site
    if [[ ${1:-} == --to ]]; then only=$(argument "$@"); fi
    for site in ${only:-$(site_names)}; do
        [[ -e $lab/sites/$site ]] || fail "there is no site $site"
        wan_enter iptables-legacy -w -t mangle -A POSTROUTING -o "w-$site" -j DROP
    done
}

wan_heal() {
    wan_enter iptables-legacy -w -t mangle -F POSTROUTING
}

# tbf counts after it has cut bursts into packets: so headers are counted as on a wire.
wan_stats() {
    local site separator=''
    printf '{'
    for site in $(site_names); do
        printf '%s"%s":{%s,%s}' "$separator" "$site" \
            "$(wan_counters out "u-$site")" "$(wan_counters in "w-$site")"
        separator=,
    done
    printf '}\n'
}

wan_counters() {
    wan_enter tc -s qdisc show dev "$2" | awk -v way="$1" '
        /Sent/ { gsub(/[,)]/, ""); printf "\"%s_bytes\":%s,\"%s_packets\":%s,\"%s_dropped\":%s", way, $2, way, $4, way, $7 }'
}
