//! What hosts are told of VPCs and groups, and which changes concern which VPC.

use crate::{default_vpc, done, group, subnet, vpc};
use control::cloud::Mode;
use control::view::ChangedKey;
use ec2::network_interface::{allocate_public, release_public};
use model::host::{RouteTarget, VpcDesired};
use model::record::Record as _;
use model::record::vpc::{InternetGateway, NetworkAcl, Subnet};
use model::{NetworkInterfaceId, SecurityGroupId, VpcId};
use testkit::{ALICE, Kit};

fn desired(kit: &Kit, vpc: &str) -> VpcDesired {
    let tables = kit.cloud.view.read();
    ec2::vpc::desired(&tables, &kit.region(), VpcId::parse(vpc).unwrap()).expect("the VPC is there")
}

fn concerned(kit: &Kit, noun: &'static str, id: &str) -> Vec<VpcId> {
    let changed = ChangedKey { region: kit.region(), noun, id: id.into() };
    ec2::vpc::concerned_by(&changed, &kit.cloud.view.read())
}

#[tokio::test]
async fn a_host_is_told_the_table_and_acl_of_each_subnet() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let (first, second) = (subnet(&kit, &vpc, "10.0.1.0/24").await, subnet(&kit, &vpc, "10.0.2.0/24").await);
    let table = done(&kit, "CreateRouteTable", &[("VpcId", &vpc)]).await.one("routeTable/routeTableId");
    let before = desired(&kit, &vpc);
    assert_eq!(before.subnets.len(), 2);
    assert_eq!(before.route_tables.len(), 1, "a table that no subnet uses is no host's business");
    assert_eq!(before.network_acls.len(), 1);
    assert_eq!(before.network_acls[0].ingress.len(), 1);
    done(&kit, "AssociateRouteTable", &[("RouteTableId", &table), ("SubnetId", &first)]).await;
    let after = desired(&kit, &vpc);
    let of =
        |subnet: &str| after.subnets.iter().find(|s| s.subnet.to_string() == subnet).unwrap().route_table;
    assert_eq!(of(&first).to_string(), table);
    assert_ne!(of(&second).to_string(), table);
    assert_eq!(after.route_tables.len(), 2);
}

#[tokio::test]
async fn routes_lead_out_only_while_the_gateway_is_attached() {
    let kit = Kit::new().await;
    let vpc = default_vpc(&kit).await;
    let targets = |kit: &Kit| {
        let desired = desired(kit, &vpc);
        desired.route_tables[0].routes.iter().map(|r| r.target.clone()).collect::<Vec<_>>()
    };
    assert_eq!(targets(&kit), [RouteTarget::InternetGateway]);
    let gateway = done(&kit, "DescribeInternetGateways", &[]).await;
    let gateway = gateway.one("internetGatewaySet/item/internetGatewayId");
    done(&kit, "DetachInternetGateway", &[("InternetGatewayId", &gateway), ("VpcId", &vpc)]).await;
    assert_eq!(targets(&kit), [RouteTarget::Blackhole]);
    let concerned = concerned(&kit, InternetGateway::NOUN, &gateway);
    assert_eq!(concerned, [VpcId::parse(&vpc).unwrap()], "a detached gateway still concerns its routes' VPC");
}

#[tokio::test]
async fn changes_concern_the_vpc_they_happen_in() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let id = VpcId::parse(&vpc).unwrap();
    let subnet = subnet(&kit, &vpc, "10.0.1.0/24").await;
    let filter = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc.as_str())];
    let acl = done(&kit, "DescribeNetworkAcls", &filter).await.one("networkAclSet/item/networkAclId");
    assert_eq!(concerned(&kit, Subnet::NOUN, &subnet), [id]);
    assert_eq!(concerned(&kit, NetworkAcl::NOUN, &acl), [id]);
    let mut news = kit.cloud.view.changes();
    done(&kit, "DeleteSubnet", &[("SubnetId", &subnet)]).await;
    let mut concerned = Vec::new();
    while let Ok(changed) = news.try_recv() {
        concerned.extend(ec2::vpc::concerned_by(&changed, &kit.cloud.view.read()));
    }
    assert_eq!(concerned, [id], "the deleted subnet is told of by its ACL");
    assert!(desired(&kit, &vpc).subnets.is_empty());
}

#[tokio::test]
async fn a_host_is_told_a_groups_rules_by_direction() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let id = group(&kit, &vpc, "web").await;
    let flat = [
        ("GroupId", id.as_str()),
        ("IpProtocol", "tcp"),
        ("FromPort", "80"),
        ("ToPort", "80"),
        ("CidrIp", "0.0.0.0/0"),
    ];
    done(&kit, "AuthorizeSecurityGroupIngress", &flat).await;
    let group = SecurityGroupId::parse(&id).unwrap();
    let read = || ec2::security_group::desired(&kit.cloud.view.read(), &kit.region(), group);
    let desired = read().expect("the group is there");
    assert_eq!((desired.ingress.len(), desired.egress.len()), (1, 1));
    done(&kit, "DeleteSecurityGroup", &[("GroupId", &id)]).await;
    assert!(read().is_none());
}

#[tokio::test]
async fn public_addresses_run_out_and_come_back() {
    let kit = Kit::new().await;
    let ctx = kit.context(ALICE);
    let owner = NetworkInterfaceId::from_entropy(7);
    let taken = kit
        .cloud
        .transact(Mode::Shared, |txn| {
            let mut taken = Vec::new();
            while let Ok(address) = allocate_public(&ctx, txn, owner) {
                taken.push(address);
            }
            Ok(taken)
        })
        .await
        .unwrap();
    // 198.18.0.0/22 without the first four and the last: just what the network's driver does not keep for itself.
    assert_eq!(taken.len(), 1024 - 5);
    let lowest = taken.iter().min().unwrap();
    assert_eq!(lowest.octets(), [198, 18, 0, 4]);
    let pool = kit.cloud.settings.public_pool;
    assert!(taken.iter().all(|address| plan::net::pool::assignable(pool, *address)));
    let none_left =
        kit.cloud.transact(Mode::Shared, |txn| allocate_public(&ctx, txn, owner)).await.unwrap_err();
    assert_eq!(none_left.code(), "InsufficientAddressCapacity");
    let again = kit
        .cloud
        .transact(Mode::Shared, |txn| {
            release_public(txn, taken[5]);
            allocate_public(&ctx, txn, owner)
        })
        .await
        .unwrap();
    assert_eq!(again, taken[5]);
}
