//! What a request says of a connection and of its tunnels.

use crate::errors::{client, invalid_parameter_value};
use crate::parameter::{ipv4_block, refuse, unsupported};
use api_ec2::{
    CreateVpnConnectionRequest, TunnelInsideIpVersion, VpnConnectionOptionsSpecification, VpnTunnelBandwidth,
    VpnTunnelOptionsSpecification,
};
use control::Result;
use ipnet::Ipv4Net;
use model::host::IkeVersions;
use std::net::Ipv4Addr;

/// What one tunnel is asked to be.
#[derive(Debug, Clone)]
pub struct Asked {
    pub inside: Option<Ipv4Net>,
    pub key: Option<String>,
    pub versions: IkeVersions,
    pub initiates: bool,
}

/// The addresses within 169.254.0.0/16 that no tunnel gets.
/// AWS: <https://docs.aws.amazon.com/vpn/latest/s2svpn/VPNTunnels.html>
pub const RESERVED: [[u8; 2]; 7] = [[0, 0], [1, 0], [2, 0], [3, 0], [4, 0], [5, 0], [169, 252]];

/// The two tunnels that a request asks for.
pub fn tunnels(request: &CreateVpnConnectionRequest) -> Result<[Asked; 2]> {
    refuse(&[
        ("VpnConcentratorId", request.vpn_concentrator_id.as_ref().is_some_and(|id| !id.is_empty())),
        (
            "PreSharedKeyStorage",
            request.pre_shared_key_storage.as_ref().is_some_and(|storage| storage != "Standard"),
        ),
    ])?;
    let none = VpnConnectionOptionsSpecification::default();
    let options = request.options.as_ref().unwrap_or(&none);
    if options.static_routes_only != Some(true) {
        return Err(unsupported("Dynamic routing (BGP); set Options.StaticRoutesOnly, it"));
    }
    let other = |value: &Option<String>, usual: &str| value.as_ref().is_some_and(|value| value != usual);
    refuse(&[
        ("EnableAcceleration", options.enable_acceleration == Some(true)),
        (
            "TunnelInsideIpVersion",
            options.tunnel_inside_ip_version.as_ref().is_some_and(|v| *v != TunnelInsideIpVersion::Ipv4),
        ),
        ("LocalIpv4NetworkCidr", other(&options.local_ipv4_network_cidr, "0.0.0.0/0")),
        ("RemoteIpv4NetworkCidr", other(&options.remote_ipv4_network_cidr, "0.0.0.0/0")),
        ("LocalIpv6NetworkCidr", options.local_ipv6_network_cidr.is_some()),
        ("RemoteIpv6NetworkCidr", options.remote_ipv6_network_cidr.is_some()),
        ("OutsideIpAddressType", other(&options.outside_ip_address_type, "PublicIpv4")),
        ("TransportTransitGatewayAttachmentId", options.transport_transit_gateway_attachment_id.is_some()),
        (
            "TunnelBandwidth",
            options.tunnel_bandwidth.as_ref().is_some_and(|b| *b != VpnTunnelBandwidth::Standard),
        ),
    ])?;
    let given = options.tunnel_options.as_deref().unwrap_or_default();
    if given.len() > 2 {
        return Err(invalid_parameter_value("A VPN connection has two tunnels."));
    }
    let default = VpnTunnelOptionsSpecification::default();
    let both = [given.first().unwrap_or(&default), given.get(1).unwrap_or(&default)];
    let [first, second] = both.map(tunnel);
    let (first, second) = (first?, second?);
    if first.inside.is_some() && first.inside == second.inside {
        return Err(invalid_parameter_value("The two tunnels must have different inside CIDR blocks."));
    }
    Ok([first, second])
}

fn tunnel(given: &VpnTunnelOptionsSpecification) -> Result<Asked> {
    let other = |value: Option<i32>, usual: i32| value.is_some_and(|value| value != usual);
    fn some<T>(list: Option<&Vec<T>>) -> bool {
        list.is_some_and(|list| !list.is_empty())
    }
    refuse(&[
        ("TunnelInsideIpv6Cidr", given.tunnel_inside_ipv6_cidr.is_some()),
        ("Phase1LifetimeSeconds", other(given.phase1_lifetime_seconds, 28_800)),
        ("Phase2LifetimeSeconds", other(given.phase2_lifetime_seconds, 3_600)),
        ("RekeyMarginTimeSeconds", other(given.rekey_margin_time_seconds, 270)),
        ("RekeyFuzzPercentage", other(given.rekey_fuzz_percentage, 100)),
        ("ReplayWindowSize", other(given.replay_window_size, 1_024)),
        ("DPDTimeoutSeconds", other(given.dpd_timeout_seconds, 30)),
        ("DPDTimeoutAction", given.dpd_timeout_action.as_ref().is_some_and(|action| action != "clear")),
        ("Phase1EncryptionAlgorithms", some(given.phase1_encryption_algorithms.as_ref())),
        ("Phase2EncryptionAlgorithms", some(given.phase2_encryption_algorithms.as_ref())),
        ("Phase1IntegrityAlgorithms", some(given.phase1_integrity_algorithms.as_ref())),
        ("Phase2IntegrityAlgorithms", some(given.phase2_integrity_algorithms.as_ref())),
        ("Phase1DHGroupNumbers", some(given.phase1_dh_group_numbers.as_ref())),
        ("Phase2DHGroupNumbers", some(given.phase2_dh_group_numbers.as_ref())),
        ("LogOptions", given.log_options.is_some()),
        ("EnableTunnelLifecycleControl", given.enable_tunnel_lifecycle_control == Some(true)),
    ])?;
    let initiates = match given.startup_action.as_deref() {
        None | Some("add") => false,
        Some("start") => true,
        Some(other) => return Err(no_value("StartupAction", other)),
    };
    let mut versions = IkeVersions { v1: false, v2: false };
    for version in given.ike_versions.iter().flatten().filter_map(|version| version.value.as_deref()) {
        match version {
            "ikev1" => versions.v1 = true,
            "ikev2" => versions.v2 = true,
            other => return Err(no_value("IKEVersions", other)),
        }
    }
    if !versions.v1 && !versions.v2 {
        versions = IkeVersions::BOTH;
    }
    Ok(Asked {
        inside: given.tunnel_inside_cidr.as_deref().map(inside).transpose()?,
        key: given.pre_shared_key.as_deref().map(key).transpose()?,
        versions,
        initiates,
    })
}

fn no_value(parameter: &str, value: &str) -> wire::ApiError {
    let shown: String = value.chars().take(64).collect();
    invalid_parameter_value(format!("Value ({shown}) for parameter {parameter} is invalid."))
}

fn inside(text: &str) -> Result<Ipv4Net> {
    let net = ipv4_block("TunnelInsideCidr", text)?;
    let link_local = net.addr().octets()[..2] == [169, 254];
    if net.prefix_len() != 30 || net != net.trunc() || !link_local || is_reserved(net) {
        return Err(invalid_parameter_value(format!(
            "Value ({net}) for parameter TunnelInsideCidr is invalid. Use a /30 of 169.254.0.0/16 that is not reserved."
        )));
    }
    Ok(net)
}

pub fn is_reserved(net: Ipv4Net) -> bool {
    let [.., third, fourth] = net.network().octets();
    RESERVED.contains(&[third, fourth])
}

/// The blocks that a tunnel may get by itself, from one of them on: none near addresses that mean something here.
pub fn free_inside(from: u128) -> impl Iterator<Item = Ipv4Net> {
    let start = (from % 16_384) as u16;
    (0..16_384u16).filter_map(move |step| {
        let [third, fourth] = (((start + step) % 16_384) * 4).to_be_bytes();
        let net = Ipv4Net::new(Ipv4Addr::new(169, 254, third, fourth), 30).ok()?;
        (!is_reserved(net) && third != 0 && third != 169).then_some(net)
    })
}

/// 8 to 64 letters, digits, periods and underscores, of which the first is no zero.
fn key(text: &str) -> Result<String> {
    let good = (8..=64).contains(&text.len())
        && !text.starts_with('0')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'));
    // Not shown: it is a secret, if a bad one.
    let refused = || {
        client(
            "InvalidParameterValue",
            "The value for parameter PreSharedKey is invalid. It has 8 to 64 alphanumeric characters, periods and \
             underscores, and does not begin with zero.",
        )
    };
    good.then(|| text.to_owned()).ok_or_else(refused)
}

/// A key out of random bytes: 32 letters and digits.
pub fn new_key(entropy: &dyn control::entropy::Entropy) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const ALL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.";
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    let drawn = |(at, byte): (usize, u8)| {
        let alphabet = if at == 0 { LETTERS } else { ALL };
        char::from(alphabet[usize::from(byte) % alphabet.len()])
    };
    bytes.into_iter().enumerate().map(drawn).collect()
}
