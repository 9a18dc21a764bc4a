# For the scripts that install what only the tests need: have COMMAND; install_package NAME, which gives 1 and says why
# where it cannot. RUNLEVEL=1 makes the packaging scripts leave a package's service stopped.

have() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null 2>&1; }

install_package() {
    if ! have apt-get; then
        echo "There is no apt-get here to install Debian's package $1 with." >&2
        return 1
    fi
    if [ "$(id -u)" = 0 ]; then
        as_root=""
    elif have sudo && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        echo "Installing Debian's package $1 needs root: sudo apt-get install $1" >&2
        return 1
    fi
    echo "Installing Debian's package $1"
    $as_root apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}
