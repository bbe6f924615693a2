//! What tables say over peerings.

use super::super::Origin;
use super::*;
use proptest::collection::btree_map;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn attachment(n: u128) -> TransitGatewayAttachmentId {
    TransitGatewayAttachmentId::from_entropy(n)
}

fn gateway(n: u128) -> TransitGatewayId {
    TransitGatewayId::from_entropy(n)
}

/// One table for each gateway, of the same number.
fn table(n: u128) -> TransitGatewayRouteTableId {
    TransitGatewayRouteTableId::from_entropy(n)
}

/// A VPC of a gateway: one number for each.
const fn vpc(gateway: u128, n: u128) -> u128 {
    gateway * 0x100 + n
}

/// One gateway's end of the peering with another.
const fn over(gateway: u128, other: u128) -> u128 {
    0x1000 + gateway * 0x100 + other
}

/// A gateway's number, and what its table says.
type Told<'a> = (u128, &'a [(&'a str, Option<u128>)]);

/// What the gateways' tables say. `joined` are the peered ones.
fn mesh(joined: &[(u128, u128)], tables: &[Told<'_>]) -> Mesh {
    let mut mesh = Mesh::default();
    for (number, ways) in tables {
        let way = |(to, by): &(&str, Option<u128>)| Way {
            destination: net(to),
            to: by.map(attachment),
            origin: Origin::Static,
        };
        mesh.tables.insert(table(*number), ways.iter().map(way).collect());
        mesh.behind.extend([1, 2].map(|n| (attachment(vpc(*number, n)), Behind::Vpc)));
    }
    for (one, two) in joined {
        for (near, far) in [(one, two), (two, one)] {
            let behind = Behind::Gateway(gateway(*far), Some(table(*far)));
            mesh.behind.insert(attachment(over(*near, *far)), behind);
        }
    }
    mesh
}

/// What the first gateway's table says.
fn told(mesh: &Mesh) -> Vec<(String, To)> {
    let routes = mesh.unfold(gateway(1), table(1));
    routes.into_iter().map(|route| (route.destination.to_string(), route.to)).collect()
}

fn is(text: &str, to: Option<u128>) -> (String, To) {
    (text.to_owned(), to.map(attachment))
}

#[test]
fn a_route_over_a_peering_becomes_what_the_far_table_says_of_its_range() {
    let near = [("10.1.0.0/16", Some(vpc(1, 1))), ("10.0.0.0/8", Some(over(1, 2)))];
    let far = [
        ("0.0.0.0/0", Some(vpc(2, 2))),
        ("10.1.7.0/24", Some(vpc(2, 1))),
        ("10.2.0.0/16", Some(vpc(2, 1))),
        ("10.3.0.0/16", None),
        ("192.0.2.0/24", Some(vpc(2, 1))),
    ];
    assert_eq!(
        told(&mesh(&[(1, 2)], &[(1, &near), (2, &far)])),
        [
            is("10.0.0.0/8", Some(vpc(2, 2))),
            is("10.1.0.0/16", Some(vpc(1, 1))),
            is("10.2.0.0/16", Some(vpc(2, 1))),
            is("10.3.0.0/16", None),
        ],
        "the near table's more specific route comes first, a blackhole stays one, and what is not led there is not told"
    );
}

#[test]
fn what_the_far_table_does_not_know_is_dropped() {
    let near = [("10.0.0.0/8", Some(over(1, 2))), ("10.9.0.0/16", Some(vpc(1, 2)))];
    let far = [("10.2.0.0/16", Some(vpc(2, 1)))];
    assert_eq!(
        told(&mesh(&[(1, 2)], &[(1, &near), (2, &far)])),
        [is("10.0.0.0/8", None), is("10.2.0.0/16", Some(vpc(2, 1))), is("10.9.0.0/16", Some(vpc(1, 2))),]
    );
}

#[test]
fn a_wider_route_of_the_far_table_holds_for_all_that_is_led_there() {
    let near = [("10.2.3.0/24", Some(over(1, 2)))];
    let far = [("10.0.0.0/8", Some(vpc(2, 1))), ("10.2.0.0/16", Some(vpc(2, 2)))];
    let mesh = mesh(&[(1, 2)], &[(1, &near), (2, &far)]);
    assert_eq!(told(&mesh), [is("10.2.3.0/24", Some(vpc(2, 2)))]);
}

#[test]
fn a_chain_of_gateways_is_followed_to_its_end() {
    let first = [("10.0.0.0/8", Some(over(1, 2))), ("2001:db8::/32", Some(over(1, 2)))];
    let second = [("10.3.0.0/16", Some(over(2, 3))), ("10.3.9.0/24", None), ("::/0", Some(over(2, 3)))];
    let third = [
        ("10.3.0.0/16", Some(vpc(3, 1))),
        ("10.3.9.128/25", Some(vpc(3, 2))),
        ("10.3.8.0/24", Some(vpc(3, 2))),
        ("2001:db8:3::/48", Some(vpc(3, 1))),
    ];
    assert_eq!(
        told(&mesh(&[(1, 2), (2, 3)], &[(1, &first), (2, &second), (3, &third)])),
        [
            is("10.0.0.0/8", None),
            is("10.3.0.0/16", Some(vpc(3, 1))),
            is("10.3.8.0/24", Some(vpc(3, 2))),
            is("10.3.9.0/24", None),
            is("2001:db8::/32", None),
            is("2001:db8:3::/48", Some(vpc(3, 1))),
        ]
    );
}

#[test]
fn a_way_back_to_a_gateway_that_was_passed_drops() {
    let first = [("0.0.0.0/0", Some(over(1, 2)))];
    let second = [("0.0.0.0/0", Some(over(2, 3))), ("10.1.0.0/16", Some(over(2, 1)))];
    let third = [("0.0.0.0/0", Some(over(3, 1))), ("10.3.0.0/16", Some(vpc(3, 1)))];
    assert_eq!(
        told(&mesh(&[(1, 2), (2, 3), (3, 1)], &[(1, &first), (2, &second), (3, &third)])),
        [is("0.0.0.0/0", None), is("10.1.0.0/16", None), is("10.3.0.0/16", Some(vpc(3, 1)))]
    );
}

#[test]
fn an_end_without_a_table_and_a_peering_that_is_gone_drop_all() {
    let near = [("10.2.0.0/16", Some(over(1, 2))), ("10.3.0.0/16", Some(over(1, 3)))];
    let far = [("10.2.0.0/16", Some(vpc(2, 1)))];
    let mut mesh = mesh(&[(1, 2)], &[(1, &near), (2, &far)]);
    mesh.behind.insert(attachment(over(1, 2)), Behind::Gateway(gateway(2), None));
    assert_eq!(told(&mesh), [is("10.2.0.0/16", None), is("10.3.0.0/16", None)]);
}

/// Where an address gets to, asking one table after the other.
fn walked(mesh: &Mesh, address: IpNet) -> To {
    let mut passed = vec![gateway(1)];
    let mut asked = table(1);
    loop {
        let to = deciding(&mesh.tables[&asked], address)?.to?;
        match mesh.behind.get(&to)? {
            Behind::Vpc => return Some(to),
            Behind::Gateway(next, _) if passed.contains(next) => return None,
            Behind::Gateway(next, table) => {
                passed.push(*next);
                asked = (*table)?;
            }
        }
    }
}

/// A table of gateway `n` of four that are all peered, over the 256 addresses of 10.0.0.0/24.
fn ways(n: u128) -> impl Strategy<Value = Vec<Way>> {
    let others: Vec<u128> = (1..=4).filter(|other| *other != n).map(|other| over(n, other)).collect();
    let to = prop_oneof![
        1 => Just(None),
        2 => (1..=2_u128).prop_map(move |m| Some(vpc(n, m))),
        4 => proptest::sample::select(others).prop_map(Some),
    ];
    let range = (0..=255_u8, 22..=29_u8)
        .prop_map(|(last, bits)| IpNet::new(Ipv4Addr::new(10, 0, 0, last).into(), bits).unwrap().trunc());
    btree_map(range, to, 0..8).prop_map(|ways| {
        let way = |(destination, to): (IpNet, Option<u128>)| Way {
            destination,
            to: to.map(attachment),
            origin: Origin::Static,
        };
        ways.into_iter().map(way).collect()
    })
}

proptest! {
    #[test]
    fn every_address_gets_where_one_table_after_the_other_leads_it(
        tables in (ways(1), ways(2), ways(3), ways(4)),
    ) {
        let joined = [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)];
        let mut mesh = mesh(&joined, &[(1, &[]), (2, &[]), (3, &[]), (4, &[])]);
        let (one, two, three, four) = tables;
        mesh.tables.extend([one, two, three, four].into_iter().zip(1..).map(|(ways, n)| (table(n), ways)));
        let told = mesh.unfold(gateway(1), table(1));
        for last in 0..=255 {
            let address = IpNet::from(IpAddr::from(Ipv4Addr::new(10, 0, 0, last)));
            let covering = told.iter().filter(|route| route.destination.contains(&address));
            let decides = covering.max_by_key(|route| route.destination.prefix_len());
            prop_assert_eq!(decides.and_then(|route| route.to), walked(&mesh, address), "{}", address);
        }
    }
}
