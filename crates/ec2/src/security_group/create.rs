//! `CreateSecurityGroup`: a group that lets everything out and nothing in.

use super::MAX_GROUPS;
use super::permission::DESCRIPTION_MARKS;
use crate::defaults::{everything_out, group_name_claim};
use crate::errors::{client, invalid_parameter_value, missing_parameter};
use crate::noun::{Noun as _, created, given_tags, hold, render_tags, touched};
use crate::vpc;
use api_ec2::{CreateSecurityGroupRequest, CreateSecurityGroupResult};
use control::{Context, Result, Tables, Touched, Txn};
use ipnet::{Ipv4Net, Ipv6Net};
use model::SecurityGroupId;
use model::record::security_group::SecurityGroup;
use model::record::vpc::Vpc;

pub fn touches(ctx: &Context, request: &CreateSecurityGroupRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "security-group")];
    all.extend(touched::<Vpc>(ctx, tables, &request.vpc_id));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateSecurityGroupRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateSecurityGroupResult> {
    let (name, description) = (&request.group_name, &request.description);
    check_text("groupName", name)?;
    check_text("groupDescription", description)?;
    if name.to_ascii_lowercase().starts_with("sg-") {
        return Err(invalid_parameter_value(format!(
            "Invalid value '{name}' for groupName. Group names may not be in the format sg-*"
        )));
    }
    if name.eq_ignore_ascii_case("default") {
        return Err(client(
            "InvalidGroup.Reserved",
            format!("Cannot use reserved security group name: {name}"),
        ));
    }
    let vpc = if let Some(id) = request.vpc_id.as_deref() {
        hold::<Vpc>(ctx, txn, id)?
    } else {
        let default = vpc::default_of(ctx, txn.tables());
        default.ok_or_else(|| client("VPCIdNotSpecified", "No default VPC for this user"))?
    };
    let has_ipv6 = !vpc.ipv6.is_empty();
    let vpc = vpc.vpc;
    let tags = given_tags(request.tag_specifications.as_deref(), &["security-group"])?;
    let tags = tags.into_values().next().unwrap_or_default();
    if txn.tables().find::<SecurityGroup>(&ctx.region, "account", ctx.account()).count() >= MAX_GROUPS {
        return Err(client(
            "SecurityGroupLimitExceeded",
            "The maximum number of security groups has been reached.",
        ));
    }
    let group = SecurityGroupId::from_entropy(ctx.bits());
    txn.claim(&ctx.region, &group_name_claim(vpc, name), &group.to_string()).map_err(|_| {
        client(
            "InvalidGroup.Duplicate",
            format!("The security group '{name}' already exists for VPC '{vpc}'"),
        )
    })?;
    let everywhere = [Ipv4Net::default().into(), Ipv6Net::default().into()];
    let nets = everywhere.into_iter().take(if has_ipv6 { 2 } else { 1 });
    let rules = nets.map(|net| everything_out(ctx, net)).collect();
    let group = txn.put(
        &ctx.region,
        SecurityGroup {
            group,
            account: ctx.account(),
            vpc,
            name: name.clone(),
            description: description.clone(),
            rules,
            tags,
        },
    );
    Ok(CreateSecurityGroupResult {
        group_id: Some(group.group.to_string()),
        tags: render_tags(&group.tags),
        security_group_arn: Some(group.arn(ctx).to_string()),
    })
}

/// Names and descriptions: up to 255 characters out of the same set.
fn check_text(parameter: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(missing_parameter(parameter));
    }
    if text.len() > 255 || !text.chars().all(|c| c.is_ascii_alphanumeric() || DESCRIPTION_MARKS.contains(c)) {
        let shown: String = text.chars().take(64).collect();
        return Err(invalid_parameter_value(format!(
            "Value ({shown}) for parameter {parameter} is invalid. It may have up to 255 letters, digits and characters of {DESCRIPTION_MARKS}"
        )));
    }
    Ok(())
}
