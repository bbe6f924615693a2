//! Numbers as text of a fixed width: what dates consist of. The formatting machinery takes ten times as long, and an
//! answer or a signature holds dozens of them.

/// The last digits of `number`, as many as `out` has room for.
pub(crate) const fn fill(out: &mut [u8], mut number: u64) {
    let mut at = out.len();
    while at > 0 {
        at -= 1;
        out[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = Vec::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.extend([DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]);
    }
    String::from_utf8(out).expect("digits are ASCII")
}
