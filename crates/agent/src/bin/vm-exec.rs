//! The launcher as a program of its own, for the driver's tests; `nube vm-exec` is the same.

fn main() -> std::process::ExitCode {
    agent::host::linux::vmm::launcher::main()
}
