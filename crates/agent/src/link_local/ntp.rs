//! The time service: SNTP from the host's clock.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/set-time.html>
//! Differs: no leap smearing; the answer is as good as the host's own clock.

use model::Timestamp;

/// From 1900, where NTP counts from, to 1970.
const EPOCH: i64 = 2_208_988_800;

/// The answer to a client's packet; `None` to whatever is no client's packet.
pub fn answer(request: &[u8], now: Timestamp) -> Option<[u8; 48]> {
    let request: &[u8; 48] = request.get(..48)?.try_into().ok()?;
    let (version, mode) = ((request[0] >> 3) & 7, request[0] & 7);
    if mode != 3 || !(1..=4).contains(&version) {
        return None;
    }
    let now = stamp(now);
    let mut reply = [0; 48];
    reply[0] = (version << 3) | 4;
    reply[1] = 4;
    reply[2] = request[2];
    // Precision: 2^-10 s, as the clock counts milliseconds.
    reply[3] = (-10i8).cast_unsigned();
    // Root dispersion: 10 ms in 16.16 fixed point.
    reply[8..12].copy_from_slice(&655u32.to_be_bytes());
    reply[12..16].copy_from_slice(&plan::net::TIME.octets());
    reply[16..24].copy_from_slice(&now);
    reply[24..32].copy_from_slice(&request[40..48]);
    reply[32..40].copy_from_slice(&now);
    reply[40..48].copy_from_slice(&now);
    Some(reply)
}

/// Seconds since 1900 and their fraction, 32 bits each; wraps in 2036 as NTP does.
fn stamp(at: Timestamp) -> [u8; 8] {
    let millis = at.as_millis();
    let seconds = (millis.div_euclid(1000) + EPOCH) as u32;
    let fraction = ((millis.rem_euclid(1000) as u64) << 32) / 1000;
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&seconds.to_be_bytes());
    bytes[4..].copy_from_slice(&(fraction as u32).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_its_own_stamp_back_and_the_hosts_time() {
        let mut request = [0; 48];
        request[0] = 0x23;
        request[40..48].copy_from_slice(b"origints");
        let reply = answer(&request, Timestamp::from_millis(1500)).unwrap();
        assert_eq!(reply[0], 0x24);
        assert_eq!(&reply[24..32], b"origints");
        assert_eq!(&reply[40..44], &(EPOCH as u32 + 1).to_be_bytes());
        assert_eq!(&reply[44..48], &0x8000_0000u32.to_be_bytes());
    }

    #[test]
    fn what_is_no_clients_packet_gets_no_answer() {
        assert_eq!(answer(&[0x23; 47], Timestamp::default()), None);
        // A server's packet: answering it could make two servers talk for ever.
        assert_eq!(answer(&[0x24; 48], Timestamp::default()), None);
    }
}
