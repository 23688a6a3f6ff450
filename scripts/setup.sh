# What ./samedrive, scripts/test, scripts/check and scripts/bench share: put in place what is missing, in silence where
# nothing is.
#
# To be sourced by a bash script that has set `program` (its name, for messages), `root` (the checkout) and `args`
# (its arguments). The caller then uses:
#
#   take_yes                     removes --yes from `args` and remembers it (SAMEDRIVE_YES=1 says the same)
#   require_fuse_device          ends the program where /dev/fuse is missing or closed to this user
#   prepare VENV LOCK PACKAGE…   system packages, then the virtual environment `venv`; sets `python`
#
# The environment is complete when its stamp says so: the stamp is written last and holds the hashes of the locks and
# the Python's version. Anything else, such as an interrupted set-up, is made again from the start. A lock on a file
# beside the environment keeps two set-ups apart.

say() { printf '%s: %s\n' "$program" "$*" >&2; }

die() {
    say "$@"
    exit 1
}

is_root() {
    [[ $(id -u) == 0 ]]
}

take_yes() {
    local kept=() arg ended=
    for arg in "${args[@]}"; do
        if [[ -z $ended && $arg == --yes ]]; then
            SAMEDRIVE_YES=1
        else
            [[ $arg != -- ]] || ended=1
            kept+=("$arg")
        fi
    done
    args=("${kept[@]}")
}

require_fuse_device() {
    local device=${SAMEDRIVE_FUSE_DEVICE:-/dev/fuse}
    if [[ ! -e $device ]] && is_root && command -v modprobe >/dev/null; then
        modprobe fuse 2>/dev/null || true
    fi
    [[ -e $device ]] || die "there is no $device, so nothing can be mounted. On a machine of your own, load the" \
        "kernel module: sudo modprobe fuse. In a container, start it with --device /dev/fuse --cap-add SYS_ADMIN."
    [[ -r $device && -w $device ]] || die "$(id -un) may not use $device: sudo chmod 666 $device, or become" \
        "a member of the group that owns it."
}

# ── Python ──

# A Python that is new enough, or nothing.
find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
}

# The Debian packages that Python $1 lacks for making an environment and compiling an extension in it.
python_packages() {
    "$1" - <<'PYTHON'
import importlib.util, os, sys, sysconfig

version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
    print(f"{version}-venv")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print(f"{version}-dev")
PYTHON
}

# ── system packages ──

# Is what Debian package $1 brings there already, by whatever means?
present() {
    case $1 in
        fuse3) command -v fusermount3 ;;
        libfuse3-dev) pkg-config --exists fuse3 ;;
        pkg-config) command -v pkg-config ;;
        gcc) command -v gcc || command -v cc ;;
        libc6-dev) [[ -e /usr/include/stdio.h ]] ;;
        attr) command -v setfattr ;;
        ripgrep) command -v rg ;;
        chromium-driver) command -v chromedriver ;;
        nodejs) command -v node ;;
        bonnie++) PATH=$PATH:/usr/sbin command -v bonnie++ ;;
        *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

ask() {
    [[ ${SAMEDRIVE_YES:-} != 1 ]] || return 0
    [[ -t 0 && -t 2 ]] || die "nobody is there to be asked: run it again with --yes to agree."
    local answer
    read -r -p "$program: go on? [Y/n] " answer || answer=n
    [[ -z $answer || $answer == [Yy]* ]] || die "nothing was installed."
}

# Install Debian packages, or end the program with the reason why that is impossible.
install_packages() {
    local packages=("$@") as_root=() log
    command -v apt-get >/dev/null || die "missing here: ${packages[*]} (Debian's names). This machine has no apt:" \
        "install what corresponds to them with its own package manager, then run this again."
    if ! is_root; then
        command -v sudo >/dev/null || die "missing here: ${packages[*]}. Installing them needs root and there is no" \
            "sudo: as root, run apt-get install ${packages[*]}"
        as_root=(sudo)
    fi
    say "about to install with apt-get${as_root[*]:+ (through sudo)}: ${packages[*]}"
    ask
    log=$(mktemp)
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -q -y)
    # Without the lists of packages nothing is found on a new machine; where they can't be had, older ones may do.
    "${apt[@]}" update >"$log" 2>&1 || true
    if ! "${apt[@]}" install --no-install-recommends "${packages[@]}" >>"$log" 2>&1; then
        tail -n 5 "$log" >&2
        die "apt-get could not install ${packages[*]}; all that it said is in $log"
    fi
    rm -f "$log"
}

install_missing_packages() {
    local missing=() package found_python
    for package in "$@"; do
        present "$package" || missing+=("$package")
    done
    found_python=$(find_python)
    if [[ -n $found_python ]]; then
        mapfile -t -O "${#missing[@]}" missing < <(python_packages "$found_python")
    elif command -v python3 >/dev/null; then
        die "Python 3.11 or later is needed; here is $(python3 -V 2>&1). Debian 12, Ubuntu 24.04 and later have it."
    else
        missing+=(python3 python3-venv python3-dev)
    fi
    ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# ── the virtual environment ──

wanted_stamp() {
    [[ -x $venv/bin/python ]] || return 0
    local version
    version=$("$venv/bin/python" -V 2>/dev/null) || return 0
    printf '%s\n' "$version"
    sha256sum <"$root/requirements-build.lock"
    sha256sum <"$lock"
}

complete() {
    local package
    for package in "${packages[@]}"; do
        present "$package" || return 1
    done
    [[ -f $venv/complete && $(<"$venv/complete") == "$(wanted_stamp)" ]]
}

make_environment() {
    local base pip log
    base=$(find_python)
    [[ -n $base ]] || die "Python 3.11 or later is needed, and apt-get has brought an older one."
    say "making a Python environment in $venv: about half a minute, once"
    log=$(mktemp)
    pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input install --require-hashes)
    if ! {
        rm -f "$venv/complete" && "$base" -m venv --clear "$venv" &&
            "${pip[@]}" -r "$root/requirements-build.lock" &&
            "${pip[@]}" --no-build-isolation -r "$lock"
    } >"$log" 2>&1; then
        grep -E 'ERROR|error:' "$log" | tail -n 5 >&2 || tail -n 5 "$log" >&2
        die "the Python environment could not be made; all that was said is in $log"
    fi
    rm -f "$log"
    wanted_stamp >"$venv/complete.new"
    mv "$venv/complete.new" "$venv/complete"
}

prepare() {
    local name=$1
    lock=$2
    shift 2
    packages=("$@")
    if [[ -w $root ]]; then
        venv=$root/.$name
    else
        venv=${XDG_DATA_HOME:-$HOME/.local/share}/samedrive/$name
    fi
    if ! complete; then
        mkdir -p "$(dirname "$venv")"
        exec {setup_lock}>"$venv.lock"
        flock -n "$setup_lock" || {
            say "waiting for another set-up of $venv"
            flock "$setup_lock"
        }
        complete || {
            # What compiles pyfuse3 is needed while the environment is made, and not to run what is in it.
            install_missing_packages "${packages[@]}" libfuse3-dev pkg-config gcc libc6-dev
            [[ -f $venv/complete && $(<"$venv/complete") == "$(wanted_stamp)" ]] || make_environment
        }
        exec {setup_lock}>&-
    fi
    python=$venv/bin/python
}
