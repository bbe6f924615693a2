//! The wall clock: the kernel sets it from the RTC, the Amazon time service at 169.254.169.123 corrects it (SNTP, RFC 4330).

use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::Duration;

use crate::console::{report, say};
use crate::{ipv6, sys};

const SERVER: &str = "169.254.169.123:123";
/// The same for who has IPv6 alone.
const BY_IPV6: &str = "[fd00:ec2::123]:123";
/// Seconds between 1900, where NTP counts from, and 1970.
const NTP_EPOCH: u64 = 2_208_988_800;
/// Less than this is left alone: a step is worse than an error that nobody sees.
const TOLERATED: f64 = 0.128;
/// The machine's clock tells whole seconds.
const NOTICED: Duration = Duration::from_secs(3);

/// Sets the clock by the machine's own: what a kernel does when it boots, for one that has slept. Good to a second.
pub fn from_hardware() -> io::Result<()> {
    let time = sys::hardware_clock(&File::open("/dev/rtc0")?)?;
    sys::set_wall_clock(time)
}

/// Sets the clock if the machine stood still since the last look: it hibernated, say. The kernel's time since boot does not count
/// that, and the machine's own clock does.
pub fn catch_up() {
    static APART: Mutex<Option<Duration>> = Mutex::new(None);
    let hardware = File::open("/dev/rtc0").and_then(|device| sys::hardware_clock(&device));
    let Some(apart) = hardware.ok().and_then(|hardware| hardware.checked_sub(sys::uptime())) else { return };
    let before = APART.lock().unwrap_or_else(PoisonError::into_inner).replace(apart);
    let slept = before.map(|before| apart.abs_diff(before)).unwrap_or_default();
    if slept > NOTICED && report("clock", from_hardware()).is_some() {
        say(&format!("the machine stood still for {} s", slept.as_secs()));
        thread::spawn(correct_soon);
    }
}

/// Corrects the clock now and then, for ever.
pub fn keep() -> ! {
    let mut pause = Duration::from_secs(1);
    loop {
        if correct().is_ok() {
            pause = Duration::from_mins(30);
        } else {
            pause = (pause * 2).min(Duration::from_mins(10));
        }
        sleep(pause);
    }
}

/// Corrects the clock once, as soon as the server answers.
pub fn correct_soon() {
    for _ in 0..10 {
        if correct().is_ok() {
            return;
        }
        sleep(Duration::from_secs(1));
    }
}

fn correct() -> io::Result<()> {
    let (own, server) = if ipv6::is_alone() { ("[::]:0", BY_IPV6) } else { ("0.0.0.0:0", SERVER) };
    let socket = UdpSocket::bind(own)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect(server)?;
    let sent = sys::wall_clock();
    let mut query = [0u8; 48];
    query[0] = 0x23;
    query[40..].copy_from_slice(&to_ntp(sent));
    socket.send(&query)?;
    let mut answer = [0u8; 48];
    let length = socket.recv(&mut answer)?;
    let received = sys::wall_clock();
    let offset = offset(&answer[..length], sent, received)
        .ok_or_else(|| io::Error::other("not an answer to our question"))?;
    if offset.abs() > TOLERATED {
        let now = sys::wall_clock().as_secs_f64() + offset;
        sys::set_wall_clock(Duration::from_secs_f64(now.max(0.0)))?;
        say(&format!("the clock was off by {offset:.3} s; stepped"));
    }
    Ok(())
}

/// How far our clock is behind the server's, in seconds; `None` when the answer is not to be believed.
fn offset(answer: &[u8], sent: Duration, received: Duration) -> Option<f64> {
    let mode = answer.first()? & 7;
    let leap = answer[0] >> 6;
    let stratum = *answer.get(1)?;
    let originate = answer.get(24..32)?;
    if mode != 4 || leap == 3 || stratum == 0 || stratum > 15 || originate != to_ntp(sent) {
        return None;
    }
    let (arrived, left) = (from_ntp(answer.get(32..40)?)?, from_ntp(answer.get(40..48)?)?);
    Some(f64::midpoint(arrived - sent.as_secs_f64(), left - received.as_secs_f64()))
}

fn to_ntp(time: Duration) -> [u8; 8] {
    let seconds = (time.as_secs() + NTP_EPOCH) as u32;
    let fraction = ((u64::from(time.subsec_nanos()) << 32) / 1_000_000_000) as u32;
    (u64::from(seconds) << 32 | u64::from(fraction)).to_be_bytes()
}

fn from_ntp(bytes: &[u8]) -> Option<f64> {
    let value = u64::from_be_bytes(bytes.try_into().ok()?);
    let seconds = value >> 32;
    // The counter wraps in 2036; small values are of the next era.
    let seconds = if seconds < NTP_EPOCH { seconds + (1 << 32) } else { seconds };
    (value != 0).then(|| (seconds - NTP_EPOCH) as f64 + (value & 0xffff_ffff) as f64 / 4_294_967_296.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(sent: Duration, server: Duration) -> [u8; 48] {
        let mut bytes = [0u8; 48];
        bytes[0] = 0x24;
        bytes[1] = 3;
        bytes[24..32].copy_from_slice(&to_ntp(sent));
        bytes[32..40].copy_from_slice(&to_ntp(server));
        bytes[40..].copy_from_slice(&to_ntp(server));
        bytes
    }

    #[test]
    fn the_offset_is_the_servers_time_less_the_middle_of_the_trip() {
        let (sent, received) = (Duration::from_secs(1_700_000_000), Duration::from_secs(1_700_000_002));
        let offset = offset(&answer(sent, Duration::from_secs(1_700_000_011)), sent, received).unwrap();
        assert!((offset - 10.0).abs() < 1e-3, "{offset}");
    }

    #[test]
    fn an_answer_to_another_question_or_from_an_unset_server_is_not_believed() {
        let sent = Duration::from_secs(1_700_000_000);
        let good = answer(sent, sent);
        assert!(offset(&good, sent, sent).is_some());
        assert!(offset(&good, sent + Duration::from_secs(1), sent).is_none());
        let mut unset = good;
        unset[0] = 0xe4;
        assert!(offset(&unset, sent, sent).is_none());
        assert!(offset(&good[..40], sent, sent).is_none());
    }
}
