# Virtual machines: our own tiny guest under TCG, the least devices, a console in a file.

vm_command() {
    local command=${1:-}
    (($# == 0)) || shift
    case $command in
        define | start | boot | xml) "vm_$command" "$@" ;;
        uuid) uuid_of "vm ${1:?name}" ;;
        *) fail "usage: lab vm define|start|boot|xml|uuid; see: lab help" ;;
    esac
}

# KiB per second from 512, 512KiB/s or 2MB/s.
parse_dirty() {
    case $1 in
        *MB/s) echo $((${1%MB/s} * 1000 * 1000 / 1024)) ;;
        *KiB/s) echo "${1%KiB/s}" ;;
        *[!0-9]*) fail "a dirty rate is e.g. 2MB/s, or a number of KiB/s; got $1" ;;
        *) echo "$1" ;;
    esac
}

vm_xml() {
    local name=${1:-} memory=128 fill='' set='' dirty=0 beat=1000 pass=5000 disk='' policy=''
    [[ $name =~ ^[A-Za-z0-9._-]+$ ]] || fail "a VM needs a name of letters, digits, dots and dashes"
    shift
    while (($#)); do
        case $1 in
            --memory) memory=$(argument "$@") ;;
            --fill) fill=$(argument "$@") ;;
            --set) set=$(argument "$@") ;;
            --dirty) dirty=$(parse_dirty "$(argument "$@")") ;;
            --beat) beat=$(argument "$@") ;;
            --pass) pass=$(argument "$@") ;;
            --disk) disk=$(argument "$@") ;;
            --*) policy+=" ${1#--}=\"$(argument "$@")\"" ;;
            *) fail "unknown option $1; see: lab help" ;;
        esac
        shift 2
    done
    fill=${fill:-$((memory - 64))}
    set=${set:-$fill}
    cat <<XML
<domain type='qemu'>
  <name>$name</name>
  <uuid>$(uuid_of "vm $name")</uuid>
  <metadata>
    <lifeboat:policy xmlns:lifeboat='urn:lifeboat:domain:1'$policy/>
  </metadata>
  <memory unit='MiB'>$memory</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>$cache/vmlinuz</kernel>
    <initrd>$cache/initrd</initrd>
    <cmdline>console=ttyS0 quiet panic=1 lifeboat.fill_kib=$((fill * 1024)) lifeboat.set_kib=$((set * 1024)) lifeboat.dirty_kib_s=$dirty lifeboat.beat_ms=$beat lifeboat.pass_ms=$pass</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <clock offset='utc'/>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>$(command -v qemu-system-x86_64)</emulator>
    <controller type='usb' model='none'/>
    <serial type='file'>
      <source path='/var/log/libvirt/console/$name.log' append='on'/>
      <target port='0'/>
    </serial>
    <memballoon model='none'/>
$(vm_disk_xml "$name" "$disk")
  </devices>
</domain>
XML
}

vm_disk_xml() {
    [[ -n $2 ]] || return 0
    cat <<XML
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='/var/lib/libvirt/images/$1.img'/>
      <target dev='vda' bus='virtio'/>
    </disk>
XML
}

vm_define() {
    local host=${1:-} name=${2:-} xml option
    require_host "$host"
    shift
    xml=$(vm_xml "$@")
    while (($#)); do
        if [[ $1 == --disk ]]; then vm_make_disk "$host" "$name" "$2"; fi
        shift
    done
    host_enter "$host" virsh -q -c qemu:///system define /dev/stdin <<<"$xml" >&2
}

vm_make_disk() {
    local image=$lab/hosts/$1/var/lib/libvirt/images/$2.img
    mkdir -p "${image%/*}"
    head -c "$(($3 * 1048576))" /dev/urandom >"$image"
}

vm_start() {
    require_host "${1:-}"
    host_enter "$1" virsh -q -c qemu:///system start "${2:?name}" >&2
}

vm_boot() {
    local host=${1:-} name=${2:-}
    vm_define "$@"
    vm_start "$host" "$name"
    wait_until 120 "first heartbeat of $name on $host" grep -q ^BEAT "$(console_file "$host" "$name")"
}
