//! The records of a window, and their file.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html>

use super::book::{Flow, Open, Port, Tally, Tuple};
use model::flow_log::Field;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::net::IpAddr;

/// A file that is to be written: its path below the directory of all logs, and its text before compression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub path: String,
    pub text: String,
}

/// The file of a window; none when it was about no interface.
pub(super) fn file(open: &Open) -> Option<Written> {
    if open.ports.is_empty() {
        return None;
    }
    let names: Vec<&str> = open.log.fields.iter().map(|field| field.as_str()).collect();
    let mut text = names.join(" ");
    text.push('\n');
    for (interface, port) in &open.ports {
        let mut silent = true;
        let first = Flow::first_of(*interface);
        for (flow, tally) in open.flows.range(first..).take_while(|(flow, _)| flow.interface == *interface) {
            silent = false;
            if open.keeps(flow) {
                line(&mut text, open, port, Some((flow, tally)));
            }
        }
        if silent {
            line(&mut text, open, port, None);
        }
    }
    // AWS writes no file without a record.
    (text.lines().count() > 1).then(|| Written { path: path(open), text })
}

impl Flow {
    /// What stands before every flow of an interface.
    fn first_of(interface: model::NetworkInterfaceId) -> Self {
        let nowhere = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let tuple = Tuple { src: nowhere, dst: nowhere, protocol: 0, src_port: 0, dst_port: 0 };
        Self { interface, tuple, egress: false, accepted: false }
    }
}

fn line(text: &mut String, open: &Open, port: &Port, record: Option<(&Flow, &Tally)>) {
    for (at, field) in open.log.fields.iter().enumerate() {
        if at > 0 {
            text.push(' ');
        }
        let before = text.len();
        write_field(text, open, port, *field, record);
        if text.len() == before {
            text.push('-');
        }
    }
    text.push('\n');
}

/// Writes nothing where nothing is known.
fn write_field(text: &mut String, open: &Open, port: &Port, field: Field, record: Option<(&Flow, &Tally)>) {
    let mut show = |what: &dyn std::fmt::Display| {
        let _ = write!(text, "{what}");
    };
    match field {
        Field::Version => {
            let version = open.log.fields.iter().map(|field| field.since()).max().unwrap_or(2);
            return show(&version);
        }
        Field::AccountId => return show(&open.facts.account),
        Field::InterfaceId => return show(&port.interface),
        Field::VpcId => return show(&open.facts.vpc),
        Field::SubnetId => return show(&port.subnet),
        Field::InstanceId => {
            if let Some(instance) = port.instance {
                show(&instance);
            }
            return;
        }
        Field::Region => return show(&open.facts.region),
        Field::AzId => {
            if let Some((_, zone)) = open.log.zones.iter().find(|(subnet, _)| *subnet == port.subnet) {
                show(zone);
            }
            return;
        }
        Field::Start if record.is_none() => return show(&open.window),
        Field::End if record.is_none() => {
            return show(&(open.window + i64::from(open.log.interval) - 1));
        }
        Field::LogStatus => return show(&if record.is_some() { "OK" } else { "NODATA" }),
        _ => {}
    }
    let Some((flow, tally)) = record else { return };
    let Tuple { src, dst, protocol, src_port, dst_port } = flow.tuple;
    match field {
        // An interface is known by its primary address.
        Field::SrcAddr => show(&if flow.egress { port.primary(src) } else { src }),
        Field::DstAddr => show(&if flow.egress { dst } else { port.primary(dst) }),
        Field::PktSrcAddr => show(&src),
        Field::PktDstAddr => show(&dst),
        Field::SrcPort => show(&src_port),
        Field::DstPort => show(&dst_port),
        Field::Protocol => show(&protocol),
        Field::Packets => show(&tally.count.packets),
        Field::Bytes => show(&tally.count.bytes),
        Field::Start => show(&tally.start),
        Field::End => show(&tally.end),
        Field::Action => show(&if flow.accepted { "ACCEPT" } else { "REJECT" }),
        Field::TcpFlags => show(&tally.flags),
        Field::Type => show(&if src.is_ipv4() { "IPv4" } else { "IPv6" }),
        Field::FlowDirection => show(&if flow.egress { "egress" } else { "ingress" }),
        Field::TrafficPath => {
            if flow.egress {
                show(&path_number(open, port, dst));
            }
        }
        Field::SublocationType
        | Field::SublocationId
        | Field::PktSrcAwsService
        | Field::PktDstAwsService
        | Field::Version
        | Field::AccountId
        | Field::InterfaceId
        | Field::VpcId
        | Field::SubnetId
        | Field::InstanceId
        | Field::Region
        | Field::AzId
        | Field::LogStatus => {}
    }
}

/// By which way it leaves: 1 within the VPC (a NAT gateway's and a transit gateway's too), 3 by a virtual private
/// gateway, 4 by a peering, 8 by the internet gateway.
fn path_number(open: &Open, port: &Port, dst: IpAddr) -> u8 {
    if open.facts.cidrs.iter().any(|cidr| cidr.contains(&dst)) {
        1
    } else if open.facts.peers.iter().any(|cidr| cidr.contains(&dst)) {
        4
    } else if open.facts.customers.iter().any(|net| net.prefix_len() > 0 && net.contains(&dst)) {
        3
    } else if (port.public || dst.is_ipv6()) && !open.facts.beyond.iter().any(|cidr| cidr.contains(&dst)) {
        8
    } else {
        1
    }
}

fn path(open: &Open) -> String {
    let (facts, destination) = (&open.facts, &open.log.destination);
    let (account, region, log) = (facts.account, &facts.region, open.log.log);
    let (year, month, day) = civil(open.window.div_euclid(86_400));
    let (hour, minute) = (open.window.rem_euclid(86_400) / 3600, open.window.rem_euclid(3600) / 60);
    let mut path = destination.bucket.clone();
    if !destination.prefix.is_empty() {
        let _ = write!(path, "/{}", destination.prefix);
    }
    if destination.hive {
        let _ = write!(
            path,
            "/AWSLogs/aws-account-id={account}/aws-service=vpcflowlogs/aws-region={region}/year={year}/month={month:02}\
             /day={day:02}"
        );
        if destination.per_hour {
            let _ = write!(path, "/hour={hour:02}");
        }
    } else {
        let _ = write!(path, "/AWSLogs/{account}/vpcflowlogs/{region}/{year}/{month:02}/{day:02}");
        if destination.per_hour {
            let _ = write!(path, "/{hour:02}");
        }
    }
    // The same window is the same file, however often it is written.
    let hash = format!("{log}/{}", open.window)
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let _ = write!(
        path,
        "/{account}_vpcflowlogs_{region}_{log}_{year}{month:02}{day:02}T{hour:02}{minute:02}Z_{hash:08x}.log.gz"
    );
    path
}

/// Year, month and day of a day since 1970.
/// Source: <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
