//! The cloud's certificate authority, and the certificate that the API shows.
//!
//! ```text
//! DATA/ca.key   the authority's key, mode 0600, made once and never shown to anybody
//! DATA/ca.pem   its certificate: what clients are told to trust
//! ```
//! The server's own key and certificate live in its memory alone: they are made at each start, for the names that the
//! cloud has then, and anew long before they run out.
//!
//! Whoever trusts the authority trusts it for these names only: it is constrained to AWS's domains, `nube.internal`,
//! `localhost` and addresses, so a stolen key cannot stand for anybody else's site.

use crate::cloud_files::{CloudDir, CloudFile, write_whole};
use anyhow::{Context as _, Result};
use ec2::vpc_endpoint::service::base_name;
use model::record::vpc_endpoint::{ApiService, EndpointService};
use model::{Clock, Region, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const DAY: i64 = 24 * 60 * 60;
/// The authority outlives the cloud.
const AUTHORITY_DAYS: i64 = 20 * 365;
/// How long a certificate is good, and how long before its end another takes its place.
const DAYS: i64 = 90;
const RENEWED_BEFORE: i64 = 30;
/// How often it is looked at: a suspended host's timers stand still.
const LOOK: Duration = Duration::from_hours(1);
/// Guests' clocks may be behind.
const EARLIER: i64 = DAY;

/// The domains that the authority may certify, with everything below them.
const DOMAINS: [&str; 5] = ["amazonaws.com", "amazonaws.com.cn", "api.aws", "nube.internal", "localhost"];

/// Where the authority's certificate lies.
pub fn authority_file(dir: &CloudDir) -> std::path::PathBuf {
    dir.path().join("ca.pem")
}

/// The cloud's certificate authority.
pub struct Authority {
    key: KeyPair,
    params: CertificateParams,
}

/// A certificate chain (DER) with its key (PKCS #8).
pub struct Issued {
    pub chain: Vec<Vec<u8>>,
    pub key: Vec<u8>,
    pub until: Timestamp,
}

impl Authority {
    /// The authority of a cloud, made if there is none.
    pub fn ensure(dir: &CloudDir, cloud: &CloudFile, now: Timestamp) -> Result<Self> {
        let (key_file, certificate_file) = (dir.path().join("ca.key"), authority_file(dir));
        let key = if key_file.exists() {
            let pem = fs::read_to_string(&key_file)
                .with_context(|| format!("cannot read {}", key_file.display()))?;
            // The causes could quote the key.
            KeyPair::from_pem(&pem).ok().with_context(|| format!("{} is damaged", key_file.display()))?
        } else {
            let key = KeyPair::generate().context("cannot make a key")?;
            write_whole(&key_file, key.serialize_pem().as_bytes(), 0o600)?;
            key
        };
        let params = authority_params(cloud, now);
        // Also when an earlier start was cut short between the two.
        if !certificate_file.exists() {
            let certificate = params.self_signed(&key).context("cannot certify the authority")?;
            write_whole(&certificate_file, certificate.pem().as_bytes(), 0o644)?;
        }
        Ok(Self { key, params })
    }

    /// A certificate for every name of the cloud's API, with a key of its own.
    pub fn issue(&self, names: &Names, now: Timestamp) -> Result<Issued> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let until = now.as_secs() + DAYS * DAY;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("Nube API");
        params.subject_alt_names = names.render()?;
        let date = |seconds: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.unsigned_abs());
        (params.not_before, params.not_after) = (date(now.as_secs() - EARLIER), date(until));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).context("cannot certify the API")?;
        Ok(Issued {
            chain: vec![certificate.der().to_vec()],
            key: key.serialize_der(),
            until: Timestamp::from_millis(until * 1000),
        })
    }
}

/// The TLS of a server that is about to serve; its certificate is renewed for as long as the process lives.
pub fn open(
    dir: &CloudDir,
    cloud: &CloudFile,
    names: Names,
    clock: impl Clock + 'static,
) -> Result<gateway::Tls> {
    let authority = Authority::ensure(dir, cloud, clock.now())?;
    let first = authority.issue(&names, clock.now())?;
    let tls = gateway::Tls::new(first.chain, first.key).context("the API's certificate is not usable")?;
    let (shown, mut until) = (tls.clone(), first.until);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            if !is_due(until, clock.now()) {
                continue;
            }
            let renewed = authority.issue(&names, clock.now()).and_then(|next| {
                shown.replace(next.chain, next.key)?;
                Ok(next.until)
            });
            match renewed {
                Ok(next) => {
                    tracing::info!("the API shows a new certificate");
                    until = next;
                }
                Err(error) => tracing::error!(error = format!("{error:#}"), "the API's certificate stays"),
            }
        }
    });
    Ok(tls)
}

fn is_due(until: Timestamp, now: Timestamp) -> bool {
    until.as_secs() - now.as_secs() < RENEWED_BEFORE * DAY
}

/// Always the same name and key identifier, so that certificates of every start lead to the one that was written first.
fn authority_params(cloud: &CloudFile, now: Timestamp) -> CertificateParams {
    let everywhere = [CidrSubnet::V4([0; 4], [0; 4]), CidrSubnet::V6([0; 16], [0; 16])];
    let domains = DOMAINS.map(|domain| GeneralSubtree::DnsName(domain.to_owned()));
    let permitted = domains.into_iter().chain(everywhere.map(GeneralSubtree::IpAddress));
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("Nube cloud {}", cloud.tag));
    let date = |seconds: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.unsigned_abs());
    (params.not_before, params.not_after) =
        (date(now.as_secs() - EARLIER), date(now.as_secs() + AUTHORITY_DAYS * DAY));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: permitted.collect(), excluded_subtrees: Vec::new() });
    params
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Nube");
    name.push(DnType::CommonName, common);
    name
}

/// By what names and addresses clients call the API.
#[derive(Debug, Clone)]
pub struct Names {
    pub listen: IpAddr,
    pub regions: Vec<Region>,
}

impl Names {
    fn render(&self) -> Result<Vec<SanType>> {
        let mut names =
            BTreeSet::from(["localhost", "*.nube.internal", "*.amazonaws.com"].map(str::to_owned));
        names.extend(self.regions.iter().flat_map(domains_of).map(|domain| format!("*.{domain}")));
        let endpoints = self.regions.iter().flat_map(|region| {
            ApiService::ALL.map(|service| base_name(region, EndpointService::Api(service)))
        });
        names.extend(endpoints.map(|base| format!("*.{base}")));
        let mut addresses: BTreeSet<IpAddr> =
            BTreeSet::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), plan::net::API.into()]);
        if self.listen.is_unspecified() {
            let read = |path| fs::read_to_string(path).unwrap_or_default();
            addresses.extend(own_addresses(&read("/proc/net/fib_trie")));
            addresses.extend(own_addresses_6(&read("/proc/net/if_inet6")));
        } else {
            addresses.insert(self.listen);
        }
        let names = names.into_iter().map(|name| Ok(SanType::DnsName(name.try_into().context("a name")?)));
        names.chain(addresses.into_iter().map(|address| Ok(SanType::IpAddress(address)))).collect()
    }
}

/// The domains in which a region's services have their names, such as `us-east-1.amazonaws.com`.
fn domains_of(region: &Region) -> [String; 2] {
    let suffix = if region.as_str().starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    [format!("{region}.{suffix}"), format!("{region}.api.aws")]
}

/// AWS's names of these services, as clients in the cloud's regions form them.
pub fn service_names(cloud: &CloudFile, services: &[&str]) -> BTreeSet<String> {
    let domains: BTreeSet<String> =
        cloud.regions.iter().flat_map(domains_of).chain(["amazonaws.com".to_owned()]).collect();
    services.iter().flat_map(|service| domains.iter().map(move |d| format!("{service}.{d}"))).collect()
}

/// The IPv4 addresses of this host, out of the kernel's table of routes.
fn own_addresses(trie: &str) -> Vec<IpAddr> {
    let mut last = None;
    let mut found = Vec::new();
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last.take().map(IpAddr::V4));
        }
    }
    found
}

/// The IPv6 addresses of this host: 32 hex digits at the start of each line.
fn own_addresses_6(table: &str) -> Vec<IpAddr> {
    let bits = |line: &str| u128::from_str_radix(line.split(' ').next()?, 16).ok();
    table.lines().filter_map(bits).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_addresses_are_read_from_the_kernels_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.9\n        /32 host LOCAL\n";
        assert_eq!(own_addresses(trie), ["10.0.0.9".parse::<IpAddr>().unwrap()]);
        let table = "fe80000000000000000000000000002a 02 40 20 80 eth0\n";
        assert_eq!(own_addresses_6(table), ["fe80::2a".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_certificate_is_renewed_a_month_before_its_end() {
        let at = |days: i64| Timestamp::from_millis(days * DAY * 1000);
        assert!(!is_due(at(90), at(59)));
        assert!(is_due(at(90), at(61)));
    }
}
