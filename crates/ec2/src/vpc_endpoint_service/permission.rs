//! Who may make endpoints to a service: `ModifyVpcEndpointServicePermissions`, `DescribeVpcEndpointServicePermissions`.
//!
//! The owner always may. Endpoints that are there stay when a permission goes.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/privatelink/configure-endpoint-service.html#add-remove-permissions>

use crate::errors::client;
use crate::noun::hold;
use api_ec2::{
    AddedPrincipal, AllowedPrincipal as Shown, DescribeVpcEndpointServicePermissionsRequest,
    DescribeVpcEndpointServicePermissionsResult, ModifyVpcEndpointServicePermissionsRequest,
    ModifyVpcEndpointServicePermissionsResult, PrincipalType,
};
use control::access::Caller;
use control::filter::{FilterField, Filters, one};
use control::page::{self, ByIds, Paging};
use control::tag::Tags;
use control::{Context, Result, Tables, Txn};
use model::record::vpc_endpoint_service::{AllowedPrincipal, VpcEndpointService};
use model::{VpcEndpointServiceId, VpcEndpointServicePermissionId};

/// How many principals a service may name.
const MAX_PRINCIPALS: usize = 100;

/// Whether a caller may make endpoints to a service, and sees it among those that are offered.
pub fn is_offered(service: &VpcEndpointService, caller: &Caller) -> bool {
    let means = |allowed: &AllowedPrincipal| means(&allowed.principal, caller);
    service.is_there() && (service.account == caller.account || service.allowed.iter().any(means))
}

fn means(principal: &str, caller: &Caller) -> bool {
    principal == "*"
        || principal == caller.arn
        || principal == format!("arn:aws:iam::{}:root", caller.account)
        || role(&caller.arn).is_some_and(|role| principal == role)
}

/// The role behind a session of it: `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION` is of `arn:aws:iam::ACCOUNT:role/NAME`.
fn role(arn: &str) -> Option<String> {
    let (account, rest) = arn.strip_prefix("arn:aws:sts::")?.split_once(":assumed-role/")?;
    let (name, _) = rest.rsplit_once('/')?;
    Some(format!("arn:aws:iam::{account}:role/{name}"))
}

/// What kind of principal it is; `InvalidPrincipal` for what is none.
fn kind(principal: &str) -> Result<PrincipalType> {
    let invalid = || {
        let shown: String = principal.chars().take(256).collect();
        client("InvalidPrincipal", format!("Invalid Principal: '{shown}'"))
    };
    if principal == "*" {
        return Ok(PrincipalType::All);
    }
    let rest = principal.strip_prefix("arn:aws:iam::").ok_or_else(invalid)?;
    let (account, resource) = rest.split_once(':').ok_or_else(invalid)?;
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) || principal.len() > 2048 {
        return Err(invalid());
    }
    match resource.split_once('/') {
        None if resource == "root" => Ok(PrincipalType::Account),
        Some(("user", name)) if !name.is_empty() => Ok(PrincipalType::User),
        Some(("role", name)) if !name.is_empty() => Ok(PrincipalType::Role),
        _ => Err(invalid()),
    }
}

pub fn modify(
    ctx: &Context,
    request: &ModifyVpcEndpointServicePermissionsRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyVpcEndpointServicePermissionsResult> {
    let held = hold::<VpcEndpointService>(ctx, txn, &request.service_id)?;
    let mut service = VpcEndpointService::clone(&held);
    let removed = request.remove_allowed_principals.as_deref().unwrap_or_default();
    for principal in removed {
        kind(principal)?;
    }
    service.allowed.retain(|allowed| !removed.contains(&allowed.principal));
    let mut added = Vec::new();
    for principal in request.add_allowed_principals.iter().flatten() {
        let kind = kind(principal)?;
        if service.allowed.iter().any(|allowed| allowed.principal == *principal) {
            continue;
        }
        let permission = VpcEndpointServicePermissionId::from_entropy(ctx.bits());
        service.allowed.push(AllowedPrincipal { permission, principal: principal.clone() });
        added.push(AddedPrincipal {
            principal_type: Some(kind),
            principal: Some(principal.clone()),
            service_permission_id: Some(permission.to_string()),
            service_id: Some(service.service.to_string()),
        });
    }
    if service.allowed.len() > MAX_PRINCIPALS {
        return Err(client(
            "VpcEndpointServicePrincipalLimitExceeded",
            format!("The maximum number of principals of a service has been reached ({MAX_PRINCIPALS})."),
        ));
    }
    txn.put(&ctx.region, service);
    Ok(ModifyVpcEndpointServicePermissionsResult { added_principals: Some(added), return_value: Some(true) })
}

static FILTERS: &[FilterField<AllowedPrincipal, ()>] = &[
    FilterField { name: "principal", values: |a, ()| one(a.principal.as_str()) },
    FilterField {
        name: "principal-type",
        values: |a, ()| kind(&a.principal).map(|kind| kind.as_str().to_owned().into()).into_iter().collect(),
    },
];

pub fn describe(
    ctx: &Context,
    request: &DescribeVpcEndpointServicePermissionsRequest,
    tables: &Tables,
) -> Result<DescribeVpcEndpointServicePermissionsResult> {
    let given = request.filters.as_deref().unwrap_or_default();
    let filters = Filters::parse(given.iter().map(|f| (f.name.as_deref(), f.values.as_deref())), FILTERS)?;
    let paging: Paging<VpcEndpointServicePermissionId> =
        Paging::parse(request.max_results, request.next_token.as_deref(), 1..=1000, ByIds::Absent)?;
    let service = crate::noun::find::<VpcEndpointService>(ctx, tables, &request.service_id)?;
    let mut matching: Vec<&AllowedPrincipal> =
        service.allowed.iter().filter(|allowed| filters.accept(allowed, &Tags::default(), &())).collect();
    matching.sort_by_key(|allowed| allowed.permission);
    let (page, next_token) = page::cut(matching, &paging, |allowed| allowed.permission);
    let shown = page.into_iter().map(|allowed| render(service.service, allowed));
    Ok(DescribeVpcEndpointServicePermissionsResult { allowed_principals: Some(shown.collect()), next_token })
}

fn render(service: VpcEndpointServiceId, allowed: &AllowedPrincipal) -> Shown {
    Shown {
        principal_type: kind(&allowed.principal).ok(),
        principal: Some(allowed.principal.clone()),
        service_permission_id: Some(allowed.permission.to_string()),
        service_id: Some(service.to_string()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_everybody_an_account_a_user_or_a_role() {
        for (principal, expected) in [
            ("*", PrincipalType::All),
            ("arn:aws:iam::123456789012:root", PrincipalType::Account),
            ("arn:aws:iam::123456789012:user/a/b", PrincipalType::User),
            ("arn:aws:iam::123456789012:role/admin", PrincipalType::Role),
        ] {
            assert_eq!(kind(principal).unwrap(), expected, "{principal}");
        }
        for nobody in [
            "",
            "123456789012",
            "arn:aws:iam::1234:root",
            "arn:aws:iam::123456789012:user/",
            "arn:aws:iam::12345678901x:root",
        ] {
            assert_eq!(kind(nobody).unwrap_err().code(), "InvalidPrincipal", "{nobody}");
        }
    }

    #[test]
    fn a_permission_means_whom_it_names() {
        let caller = |arn: &str| Caller {
            account: "123456789012".parse().unwrap(),
            access_key: "AKIAIOSFODNN7EXAMPLE".parse().unwrap(),
            arn: arn.into(),
            user_id: "123456789012".into(),
        };
        let root = caller("arn:aws:iam::123456789012:root");
        let user = caller("arn:aws:iam::123456789012:user/a");
        let session = caller("arn:aws:sts::123456789012:assumed-role/admin/me");
        for (principal, whom) in [
            ("*", [true, true, true]),
            ("arn:aws:iam::123456789012:root", [true, true, true]),
            ("arn:aws:iam::123456789012:user/a", [false, true, false]),
            ("arn:aws:iam::123456789012:role/admin", [false, false, true]),
            ("arn:aws:iam::123456789013:root", [false, false, false]),
        ] {
            assert_eq!([&root, &user, &session].map(|caller| means(principal, caller)), whom, "{principal}");
        }
    }
}
