//! AWS's own lists: the addresses of the services that gateway endpoints lead to, as the operator named them.
//!
//! They are records like customers' lists, brought to the settings when the cloud starts; so rules, routes and hosts know
//! them as they know others.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/working-with-aws-managed-prefix-lists.html>

use super::usage;
use control::{Cloud, Txn};
use ipnet::IpNet;
use model::GatewayService;
use model::record::prefix_list::{Entry, Family, Last, PrefixList};
use plan::net::gateway_service::{full_name, prefix_list};

/// As how many entries a reference to one counts.
const WEIGHT: u32 = 1;

/// Brings the lists of every region to what the settings say. One that is still referred to stays, without entries.
pub fn settle(cloud: &Cloud, txn: &mut Txn<'_>) {
    for region in cloud.settings.regions.iter().map(|settings| &settings.region) {
        for service in GatewayService::ALL {
            let ranges = cloud.settings.gateway_services.iter().find(|ranges| ranges.service == service);
            let cidrs = ranges.map(|ranges| ranges.cidrs.as_slice()).unwrap_or_default();
            let entry = |cidr: &ipnet::Ipv4Net| Entry { cidr: IpNet::V4(*cidr), description: None };
            let entries: Vec<Entry> = cidrs.iter().map(entry).collect();
            let id = prefix_list(region, service);
            let known = txn.get::<PrefixList>(region, &id);
            if entries.is_empty() && usage::users(region, txn.tables(), id).is_empty() {
                if known.is_some() {
                    txn.delete::<PrefixList>(region, &id);
                }
                continue;
            }
            if known.is_some_and(|known| known.entries() == entries) {
                continue;
            }
            let list = PrefixList {
                list: id,
                account: None,
                name: full_name(region, service.as_str()),
                family: Family::Ipv4,
                max_entries: WEIGHT,
                versions: vec![entries],
                last: Last::Created,
                tags: control::tag::Tags::new(),
            };
            txn.put(region, list);
        }
    }
}
