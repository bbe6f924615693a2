//! What a region and every account in it have from the first call on: the public images, and for the account a default VPC of 172.31.0.0/16 with a default subnet
//! in each zone, an internet gateway, a main route table, a default network ACL, security group and DHCP options.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc-components.html>

use crate::image;
use control::cloud::Mode;
use control::dispatch::Prelude;
use control::{Context, Result, Tables, Txn};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::record::Tags;
use model::record::security_group::{Direction, SecurityGroup, SecurityGroupRule};
use model::record::vpc::{
    Destination, DhcpOptions, InternetGateway, NetworkAcl, NetworkAclAssociation, Route, RouteTable,
    RouteTableAssociation, RouteTarget, Subnet, SubnetIpv6Cidr, Vpc,
};
use model::{
    DhcpOptionsId, InternetGatewayId, NetworkAclAssociationId, NetworkAclId, RouteTableAssociationId,
    RouteTableId, SecurityGroupId, SecurityGroupRuleId, SubnetCidrAssociationId, SubnetId,
    VpcCidrAssociationId, VpcId, Zone,
};
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;

/// The default VPC's block and the prefix length of its subnets.
pub const DEFAULT_VPC: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 31, 0, 0), 16);
pub const DEFAULT_SUBNET_PREFIX: u8 = 20;

/// The claim that says that an account's defaults in a region were made (even if deleted since).
fn claim(ctx: &Context) -> String {
    format!("defaults/{}", ctx.account())
}

/// Runs before every operation of an account that has no defaults in the region yet.
pub const PRELUDE: Prelude = Prelude { is_there: are_there, run: ensure };

fn are_there(ctx: &Context, tables: &Tables) -> bool {
    image::public::are_shown(ctx, tables) && are_made(ctx, tables)
}

fn are_made(ctx: &Context, tables: &Tables) -> bool {
    tables.claimed(&ctx.region, &claim(ctx)).is_some()
}

/// Makes the caller's defaults in the region of the request, unless that was done before.
pub fn ensure(ctx: Context) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
    Box::pin(async move {
        let (images_shown, made) = {
            let tables = ctx.cloud.view.read();
            (image::public::are_shown(&ctx, &tables), are_made(&ctx, &tables))
        };
        if !images_shown {
            image::public::show(&ctx);
        }
        if made {
            return Ok(());
        }
        let cloud = Arc::clone(&ctx.cloud);
        cloud
            .transact(Mode::Shared, |txn| {
                if txn.is_claimed(&ctx.region, &claim(&ctx)) {
                    return Ok(());
                }
                let vpc = make_default_vpc(&ctx, txn);
                // The claim was free a moment ago in this very transaction.
                let _ = txn.claim(&ctx.region, &claim(&ctx), &vpc.to_string());
                Ok(())
            })
            .await
    })
}

/// Writes a default VPC and all that belongs to it.
pub fn make_default_vpc(ctx: &Context, txn: &mut Txn<'_>) -> VpcId {
    let options = default_dhcp_options(ctx, txn);
    let vpc = make_vpc(ctx, txn, DEFAULT_VPC, options, Standing::Default);
    let gateway = InternetGatewayId::from_entropy(ctx.bits());
    txn.put(
        &ctx.region,
        InternetGateway { gateway, account: ctx.account(), vpc: Some(vpc.vpc), tags: Tags::default() },
    );
    let mut main = vpc.main_table;
    main.routes.push(Route {
        destination: Destination::Net(Ipv4Net::default().into()),
        target: RouteTarget::InternetGateway(gateway),
    });
    txn.put(&ctx.region, main);
    let zones = ctx.cloud.settings.region(&ctx.region).map(|r| r.zones.clone()).unwrap_or_default();
    let blocks = DEFAULT_VPC.subnets(DEFAULT_SUBNET_PREFIX).into_iter().flatten();
    let mut acl = vpc.acl;
    for (zone, cidr) in zones.into_iter().zip(blocks) {
        let subnet = make_default_subnet(ctx, txn, vpc.vpc, zone, cidr.into());
        acl.associations.push(NetworkAclAssociation {
            association: NetworkAclAssociationId::from_entropy(ctx.bits()),
            subnet,
        });
    }
    txn.put(&ctx.region, acl);
    vpc.vpc
}

/// Writes one default subnet, of IPv4 or of IPv6 alone; the caller associates it with the VPC's default ACL.
pub fn make_default_subnet(
    ctx: &Context,
    txn: &mut Txn<'_>,
    vpc: VpcId,
    zone: Zone,
    block: IpNet,
) -> SubnetId {
    let subnet = SubnetId::from_entropy(ctx.bits());
    let (cidr, ipv6) = match block {
        IpNet::V4(cidr) => (Some(cidr), None),
        IpNet::V6(cidr) => {
            let association = SubnetCidrAssociationId::from_entropy(ctx.bits());
            (None, Some(SubnetIpv6Cidr { association, cidr }))
        }
    };
    txn.put(
        &ctx.region,
        Subnet {
            subnet,
            account: ctx.account(),
            vpc,
            zone,
            cidr,
            default_for_zone: true,
            map_public_ip: cidr.is_some(),
            assign_ipv6: ipv6.is_some(),
            ipv6,
            tags: Tags::default(),
        },
    );
    subnet
}

/// Whether a VPC is the account's default one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Default,
    Custom,
}

/// A new VPC's id, and the parts of it that its maker may still change and must then put.
pub struct NewVpc {
    pub vpc: VpcId,
    pub main_table: RouteTable,
    pub acl: NetworkAcl,
    pub group: SecurityGroupId,
}

/// Writes a VPC with its default security group, main route table and default ACL.
pub fn make_vpc(
    ctx: &Context,
    txn: &mut Txn<'_>,
    cidr: Ipv4Net,
    options: DhcpOptionsId,
    standing: Standing,
) -> NewVpc {
    let vpc = VpcId::from_entropy(ctx.bits());
    let (account, region) = (ctx.account(), &ctx.region);
    txn.put(
        region,
        Vpc {
            vpc,
            account,
            cidr,
            cidr_association: VpcCidrAssociationId::from_entropy(ctx.bits()),
            further: Vec::new(),
            ipv6: Vec::new(),
            dhcp_options: options,
            dns_support: true,
            dns_hostnames: standing == Standing::Default,
            is_default: standing == Standing::Default,
            tags: Tags::default(),
        },
    );
    let main_table = RouteTable {
        table: RouteTableId::from_entropy(ctx.bits()),
        account,
        vpc,
        routes: Vec::new(),
        propagating: std::collections::BTreeSet::new(),
        associations: vec![RouteTableAssociation {
            association: RouteTableAssociationId::from_entropy(ctx.bits()),
            subnet: None,
            gateway: None,
        }],
        tags: Tags::default(),
    };
    txn.put(region, main_table.clone());
    let everything = everything(100, Ipv4Net::default().into());
    let acl = NetworkAcl {
        acl: NetworkAclId::from_entropy(ctx.bits()),
        account,
        vpc,
        is_default: true,
        ingress: vec![everything],
        egress: vec![everything],
        associations: Vec::new(),
        tags: Tags::default(),
    };
    txn.put(region, acl.clone());
    let group = SecurityGroupId::from_entropy(ctx.bits());
    // A new VPC has no groups, so the name is free.
    let _ = txn.claim(region, &group_name_claim(vpc, "default"), &group.to_string());
    let rule = |direction, peer| SecurityGroupRule {
        rule: SecurityGroupRuleId::from_entropy(ctx.bits()),
        direction,
        allow: Allow { traffic: Traffic::All, peer },
        description: None,
        tags: Tags::default(),
    };
    txn.put(
        region,
        SecurityGroup {
            group,
            account,
            vpc,
            name: "default".into(),
            description: "default VPC security group".into(),
            rules: vec![
                rule(Direction::Ingress, Peer::Group(group)),
                rule(Direction::Egress, Peer::Net(Ipv4Net::default().into())),
            ],
            tags: Tags::default(),
        },
    );
    NewVpc { vpc, main_table, acl, group }
}

/// What comes with a VPC's first IPv6 block: groups and the default ACL whose rules for what leaves are those that they began
/// with allow the same by IPv6.
///
/// Of a VPC that this transaction did not make; see [`NewVpc::open_to_ipv6`].
pub fn open_to_ipv6(ctx: &Context, txn: &mut Txn<'_>, vpc: VpcId) {
    let groups = txn.tables().find::<SecurityGroup>(&ctx.region, "vpc", vpc);
    let groups: Vec<SecurityGroupId> = groups.map(|group| group.group).collect();
    let acl = txn.tables().find::<NetworkAcl>(&ctx.region, "vpc", vpc).find(|acl| acl.is_default);
    let acl = acl.map(|acl| acl.acl);
    open_these_to_ipv6(ctx, txn, &groups, acl);
}

impl NewVpc {
    /// [`open_to_ipv6`], whose tables do not show what was just made.
    pub fn open_to_ipv6(&self, ctx: &Context, txn: &mut Txn<'_>) {
        open_these_to_ipv6(ctx, txn, &[self.group], Some(self.acl.acl));
    }
}

fn open_these_to_ipv6(
    ctx: &Context,
    txn: &mut Txn<'_>,
    groups: &[SecurityGroupId],
    acl: Option<NetworkAclId>,
) {
    let everywhere = |peer| Allow { traffic: Traffic::All, peer };
    let v4 = everywhere(Peer::Net(Ipv4Net::default().into()));
    for id in groups {
        let Some(group) = txn.get::<SecurityGroup>(&ctx.region, id) else { continue };
        if group.allows(Direction::Egress).map(|rule| rule.allow).ne([v4]) {
            continue;
        }
        let mut group = SecurityGroup::clone(&group);
        group.rules.push(everything_out(ctx, Ipv6Net::default().into()));
        txn.put(&ctx.region, group);
    }
    let Some(acl) = acl.and_then(|id| txn.get::<NetworkAcl>(&ctx.region, &id)) else { return };
    let mut acl = NetworkAcl::clone(&acl);
    for entries in [&mut acl.ingress, &mut acl.egress] {
        if *entries == [everything(100, Ipv4Net::default().into())] {
            entries.push(everything(101, Ipv6Net::default().into()));
        }
    }
    txn.put(&ctx.region, acl);
}

const fn everything(number: u16, net: IpNet) -> AclEntry {
    AclEntry { number, traffic: Traffic::All, net, action: AclAction::Allow }
}

/// The rule that lets a group's members send whatever they like to a net.
pub fn everything_out(ctx: &Context, net: IpNet) -> SecurityGroupRule {
    SecurityGroupRule {
        rule: SecurityGroupRuleId::from_entropy(ctx.bits()),
        direction: Direction::Egress,
        allow: Allow { traffic: Traffic::All, peer: Peer::Net(net) },
        description: None,
        tags: Tags::default(),
    }
}

/// The options that every region has: the cloud's own resolver and domain. Made if the account has none like these.
pub fn default_dhcp_options(ctx: &Context, txn: &mut Txn<'_>) -> DhcpOptionsId {
    let configuration = vec![
        ("domain-name".to_owned(), vec![ctx.region.internal_domain()]),
        ("domain-name-servers".to_owned(), vec!["AmazonProvidedDNS".to_owned()]),
    ];
    let mut existing = txn.tables().find::<DhcpOptions>(&ctx.region, "account", ctx.account());
    if let Some(existing) = existing.find(|options| options.configuration == configuration) {
        return existing.options;
    }
    let options = DhcpOptionsId::from_entropy(ctx.bits());
    txn.put(
        &ctx.region,
        DhcpOptions { options, account: ctx.account(), configuration, tags: Tags::default() },
    );
    options
}

/// The claim that keeps a group's name unique in its VPC, whatever the case of its letters.
pub fn group_name_claim(vpc: VpcId, name: &str) -> String {
    format!("group-name/{vpc}/{}", name.to_ascii_lowercase())
}
