//! Lines on the serial console: what `get-console-output` shows.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// Prints one line with the time since boot, as the kernel does.
pub fn say(text: &str) {
    let now = crate::sys::uptime();
    raw(&format!("[{:5}.{:06}] nube-guest: {text}\r\n", now.as_secs(), now.subsec_micros()));
}

/// Prints text as it is. A console that cannot be written is no reason to stop.
pub fn raw(text: &str) {
    // Opened each time: a program's vhangup on the terminal would break a descriptor that we kept.
    if let Ok(mut console) = OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open("/dev/console")
    {
        let _ = console.write_all(text.as_bytes());
    }
}

/// Says what went wrong, if something did, and goes on: nothing here is worth an instance that does not come up.
pub fn report<T>(what: &str, result: std::io::Result<T>) -> Option<T> {
    result.map_err(|error| say(&format!("{what}: {error}"))).ok()
}
