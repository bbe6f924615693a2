//! The recycle bin's rules (`rbin`): made, changed, locked, tagged. What they keep is shown and restored by EC2.
//!
//! A rule decides when something is deleted; what is in the bin keeps its time, whatever becomes of the rule. A locked rule is
//! neither changed nor deleted until it was unlocked and its delay is over.
//! AWS: <https://docs.aws.amazon.com/recyclebin/latest/APIReference/Welcome.html>
//! Differs: rules for volumes are refused; a new rule is available at once.

use api_rbin::{
    CreateRuleRequest, CreateRuleResponse, DeleteRuleRequest, DeleteRuleResponse, GetRuleRequest,
    GetRuleResponse, ListRulesRequest, ListRulesResponse, ListTagsForResourceRequest,
    ListTagsForResourceResponse, LockConfiguration, LockRuleRequest, LockRuleResponse, LockState,
    ResourceTag, ResourceType, RetentionPeriod, RetentionPeriodUnit, RuleStatus, RuleSummary, Tag,
    TagResourceRequest, TagResourceResponse, UnlockDelay, UnlockDelayUnit, UnlockRuleRequest,
    UnlockRuleResponse, UntagResourceRequest, UntagResourceResponse, UpdateRuleRequest, UpdateRuleResponse,
    errors, ops,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::tag::{self, Tags};
use control::{Arn, Context, Result, Service, Tables, Touched, Txn};
use model::record::recycle_bin::{Lock, LockStage, Pattern, Resource, Rule, Scope};
use std::sync::Arc;
use std::time::Duration;
use wire::ApiError;

const DAYS: std::ops::RangeInclusive<i32> = 1..=3650;
/// Exclusions of one rule, rules of one account in a region.
const MOST_EXCLUDED: usize = 5;
const MOST_TAGS: usize = 50;
const MOST_RULES: usize = 250;

fn validation(message: impl Into<String>) -> ApiError {
    ApiError::of(&errors::VALIDATION_EXCEPTION, message.into())
        .with_detail("Reason", "INVALID_PARAMETER_VALUE")
}

fn not_found(id: &str) -> ApiError {
    let shown: String = id.chars().take(64).collect();
    ApiError::of(&errors::RESOURCE_NOT_FOUND_EXCEPTION, format!("The rule '{shown}' does not exist."))
        .with_detail("Reason", "RULE_NOT_FOUND")
}

fn conflict(message: impl Into<String>) -> ApiError {
    ApiError::of(&errors::CONFLICT_EXCEPTION, message.into()).with_detail("Reason", "INVALID_RULE_STATE")
}

fn arn(ctx: &Context, id: &str) -> Arn {
    Arn::new("rbin", &ctx.region, ctx.account(), "rule", id)
}

fn find<'a>(ctx: &Context, tables: &'a Tables, id: &str) -> Result<&'a Arc<Rule>> {
    let found = tables.get::<Rule>(&ctx.region, &id.to_owned());
    found.filter(|rule| rule.account == ctx.account()).ok_or_else(|| not_found(id))
}

/// [`find`], held until the commit.
fn hold(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<Arc<Rule>> {
    find(ctx, txn.tables(), id)?;
    txn.get::<Rule>(&ctx.region, &id.to_owned()).ok_or_else(|| not_found(id))
}

fn resource(given: &ResourceType) -> Result<Resource> {
    match given {
        ResourceType::EbsSnapshot => Ok(Resource::Snapshot),
        ResourceType::Ec2Image => Ok(Resource::Image),
        other => Err(validation(format!(
            "The resource type {} is not supported by this cloud: EBS_SNAPSHOT or EC2_IMAGE.",
            other.as_str()
        ))),
    }
}

fn resource_type(resource: Resource) -> ResourceType {
    match resource {
        Resource::Snapshot => ResourceType::EbsSnapshot,
        Resource::Image => ResourceType::Ec2Image,
    }
}

fn days(given: &RetentionPeriod) -> Result<u32> {
    let days = given.retention_period_value.filter(|days| DAYS.contains(days));
    let unit = given.retention_period_unit.as_ref();
    match (days, unit) {
        (Some(days), Some(RetentionPeriodUnit::Days)) => Ok(days.unsigned_abs()),
        _ => Err(validation("A retention period is 1 to 3650 DAYS.")),
    }
}

fn patterns(given: &[ResourceTag]) -> Result<Vec<Pattern>> {
    let pattern = |tag: &ResourceTag| {
        let key = tag.resource_tag_key.clone().filter(|key| (1..=128).contains(&key.chars().count()));
        let key = key.ok_or_else(|| validation("The key of a resource tag has 1 to 128 characters."))?;
        Ok(Pattern { key, value: tag.resource_tag_value.clone() })
    };
    given.iter().map(pattern).collect()
}

fn scope(only: Option<&[ResourceTag]>, except: Option<&[ResourceTag]>) -> Result<Scope> {
    let (only, except) = (only.unwrap_or_default(), except.unwrap_or_default());
    if !only.is_empty() && !except.is_empty() {
        return Err(validation("A rule has resource tags or exclusion tags, not both."));
    }
    if only.len() > MOST_TAGS || except.len() > MOST_EXCLUDED {
        return Err(validation("A rule has at most 50 resource tags or 5 exclusion tags."));
    }
    if only.is_empty() { patterns(except).map(Scope::AllBut) } else { patterns(only).map(Scope::Tagged) }
}

fn delay(given: &LockConfiguration) -> Result<u32> {
    let delay = given.unlock_delay.as_ref();
    let days = delay.and_then(|delay| delay.unlock_delay_value).filter(|days| (7..=30).contains(days));
    let unit = delay.and_then(|delay| delay.unlock_delay_unit.as_ref());
    match (days, unit) {
        (Some(days), Some(UnlockDelayUnit::Days)) => Ok(days.unsigned_abs()),
        _ => Err(validation("An unlock delay is 7 to 30 DAYS.")),
    }
}

fn lockable(scope: &Scope) -> Result<()> {
    match scope {
        Scope::AllBut(_) => Ok(()),
        Scope::Tagged(_) => Err(validation("A rule with resource tags cannot be locked.")),
    }
}

fn description(given: Option<&str>) -> Result<String> {
    let text = given.unwrap_or_default();
    if text.chars().count() > 255 {
        return Err(validation("A description has at most 255 characters."));
    }
    Ok(text.to_owned())
}

fn with_tags(tags: &mut Tags, given: &[Tag]) -> Result<()> {
    let pairs = given
        .iter()
        .map(|tag| (tag.key.as_deref().unwrap_or_default(), tag.value.as_deref().unwrap_or_default()));
    tag::merge(tags, pairs).map_err(|error| validation(error.message().to_owned()))
}

/// A rule as every answer shows it.
struct Shown {
    retention: Option<RetentionPeriod>,
    only: Option<Vec<ResourceTag>>,
    except: Option<Vec<ResourceTag>>,
    lock: Option<LockConfiguration>,
    state: Option<LockState>,
    ends: Option<wire::Timestamp>,
    arn: Option<String>,
    description: Option<String>,
}

fn shown(ctx: &Context, rule: &Rule) -> Shown {
    let tags = |patterns: &[Pattern]| {
        let tag = |pattern: &Pattern| ResourceTag {
            resource_tag_key: Some(pattern.key.clone()),
            resource_tag_value: pattern.value.clone(),
        };
        Some(patterns.iter().map(tag).collect::<Vec<_>>())
    };
    let (only, except) = match &rule.scope {
        Scope::Tagged(patterns) => (tags(patterns), None),
        Scope::AllBut(patterns) => (None, tags(patterns).filter(|tags| !tags.is_empty())),
    };
    let stage = rule.stage(ctx.now);
    Shown {
        retention: Some(RetentionPeriod {
            retention_period_value: i32::try_from(rule.days).ok(),
            retention_period_unit: Some(RetentionPeriodUnit::Days),
        }),
        only,
        except,
        lock: rule.lock.map(|lock| LockConfiguration {
            unlock_delay: Some(UnlockDelay {
                unlock_delay_value: i32::try_from(lock.delay).ok(),
                unlock_delay_unit: Some(UnlockDelayUnit::Days),
            }),
        }),
        state: rule.lock.map(|_| match stage {
            LockStage::Locked => LockState::Locked,
            LockStage::PendingUnlock(_) => LockState::PendingUnlock,
            LockStage::Unlocked => LockState::Unlocked,
        }),
        ends: match stage {
            LockStage::PendingUnlock(at) => Some(wire::Timestamp::from_millis(at.as_millis())),
            LockStage::Locked | LockStage::Unlocked => None,
        },
        arn: Some(arn(ctx, &rule.rule).to_string()),
        description: Some(rule.description.clone()).filter(|text| !text.is_empty()),
    }
}

/// A rule as the answers of most operations have it; what one has beside that is given with it.
macro_rules! answer {
    ($answer:ident, $ctx:expr, $rule:expr, |$shown:ident| $($more:ident: $value:expr),*) => {{
        let rule: &Rule = &$rule;
        let $shown = shown($ctx, rule);
        $answer {
            identifier: Some(rule.rule.clone()),
            description: $shown.description,
            resource_type: Some(resource_type(rule.resource)),
            retention_period: $shown.retention,
            resource_tags: $shown.only,
            exclude_resource_tags: $shown.except,
            status: Some(RuleStatus::Available),
            lock_state: $shown.state,
            rule_arn: $shown.arn,
            $($more: $value),*
        }
    }};
}

fn identifier(ctx: &Context) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut bits = ctx.bits();
    let mut id = String::with_capacity(11);
    for _ in 0..11 {
        id.push(char::from(DIGITS[(bits % 62) as usize]));
        bits /= 62;
    }
    id
}

fn create(ctx: &Context, request: &CreateRuleRequest, txn: &mut Txn<'_>) -> Result<CreateRuleResponse> {
    let scope = scope(request.resource_tags.as_deref(), request.exclude_resource_tags.as_deref())?;
    let lock = request.lock_configuration.as_ref().map(|given| -> Result<Lock> {
        lockable(&scope)?;
        Ok(Lock { delay: delay(given)?, ends_at: None })
    });
    let mut tags = Tags::new();
    with_tags(&mut tags, request.tags.as_deref().unwrap_or_default())?;
    if txn.tables().find::<Rule>(&ctx.region, "account", ctx.account()).count() >= MOST_RULES {
        let message = format!("The account has {MOST_RULES} rules in this region, which is the most.");
        return Err(ApiError::of(&errors::SERVICE_QUOTA_EXCEEDED_EXCEPTION, message)
            .with_detail("Reason", "SERVICE_QUOTA_EXCEEDED"));
    }
    let rule = Rule {
        rule: identifier(ctx),
        account: ctx.account(),
        resource: resource(&request.resource_type)?,
        days: days(&request.retention_period)?,
        description: description(request.description.as_deref())?,
        scope,
        lock: lock.transpose()?,
        tags,
    };
    let rule = txn.put(&ctx.region, rule);
    Ok(
        answer!(CreateRuleResponse, ctx, rule, |shown| tags: Some(render_tags(&rule.tags)), lock_configuration: shown.lock),
    )
}

fn get(ctx: &Context, request: &GetRuleRequest, tables: &Tables) -> Result<GetRuleResponse> {
    let rule = find(ctx, tables, &request.identifier)?;
    Ok(answer!(GetRuleResponse, ctx, rule, |shown| lock_configuration: shown.lock, lock_end_time: shown.ends))
}

fn list(ctx: &Context, request: &ListRulesRequest, tables: &Tables) -> Result<ListRulesResponse> {
    let wanted = resource(&request.resource_type)?;
    let only = patterns(request.resource_tags.as_deref().unwrap_or_default())?;
    let except = patterns(request.exclude_resource_tags.as_deref().unwrap_or_default())?;
    let after = request.next_token.as_deref().map(|token| {
        let bytes = STANDARD.decode(token).ok();
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
            ApiError::of(&errors::VALIDATION_EXCEPTION, "The token was not given by this service.")
                .with_detail("Reason", "INVALID_PAGE_TOKEN")
        })
    });
    let after = after.transpose()?;
    let held = |has: &[Pattern], asked: &[Pattern]| asked.iter().all(|pattern| has.contains(pattern));
    let mut rules: Vec<&Arc<Rule>> = tables
        .find::<Rule>(&ctx.region, "account", ctx.account())
        .filter(|rule| rule.resource == wanted && after.as_ref().is_none_or(|after| rule.rule > *after))
        .filter(|rule| match &rule.scope {
            Scope::Tagged(tags) => except.is_empty() && held(tags, &only),
            Scope::AllBut(tags) => only.is_empty() && held(tags, &except),
        })
        .filter(|rule| {
            let state = shown(ctx, rule).state.unwrap_or(LockState::Unlocked);
            request.lock_state.as_ref().is_none_or(|asked| *asked == state)
        })
        .collect();
    rules.sort_by(|a, b| a.rule.cmp(&b.rule));
    let most = request.max_results.and_then(|most| usize::try_from(most).ok()).unwrap_or(1000);
    let next_token = (rules.len() > most).then(|| STANDARD.encode(&rules[most - 1].rule));
    rules.truncate(most);
    let summary = |rule: &Arc<Rule>| {
        let shown = shown(ctx, rule);
        RuleSummary {
            identifier: Some(rule.rule.clone()),
            description: shown.description,
            retention_period: shown.retention,
            lock_state: shown.state,
            rule_arn: shown.arn,
        }
    };
    Ok(ListRulesResponse { rules: Some(rules.into_iter().map(summary).collect()), next_token })
}

fn unlocked(ctx: &Context, rule: &Rule) -> Result<()> {
    match rule.stage(ctx.now) {
        LockStage::Unlocked => Ok(()),
        LockStage::Locked | LockStage::PendingUnlock(_) => {
            Err(conflict(format!("The rule '{}' is locked.", rule.rule)))
        }
    }
}

fn update(ctx: &Context, request: &UpdateRuleRequest, txn: &mut Txn<'_>) -> Result<UpdateRuleResponse> {
    let mut rule = (*hold(ctx, txn, &request.identifier)?).clone();
    unlocked(ctx, &rule)?;
    if let Some(given) = &request.resource_type
        && resource(given)? != rule.resource
    {
        return Err(validation("The resource type of a rule cannot be changed."));
    }
    if let Some(period) = &request.retention_period {
        rule.days = days(period)?;
    }
    if request.description.is_some() {
        rule.description = description(request.description.as_deref())?;
    }
    let (only, except) = (request.resource_tags.as_deref(), request.exclude_resource_tags.as_deref());
    if only.is_some() || except.is_some() {
        rule.scope = scope(only, except)?;
    }
    let rule = txn.put(&ctx.region, rule);
    Ok(answer!(UpdateRuleResponse, ctx, rule, |shown| lock_end_time: shown.ends))
}

fn delete(ctx: &Context, request: &DeleteRuleRequest, txn: &mut Txn<'_>) -> Result<DeleteRuleResponse> {
    let rule = hold(ctx, txn, &request.identifier)?;
    unlocked(ctx, &rule)?;
    txn.delete::<Rule>(&ctx.region, &rule.rule);
    Ok(DeleteRuleResponse {})
}

fn lock(ctx: &Context, request: &LockRuleRequest, txn: &mut Txn<'_>) -> Result<LockRuleResponse> {
    let rule = hold(ctx, txn, &request.identifier)?;
    lockable(&rule.scope)?;
    unlocked(ctx, &rule)?;
    let lock = Lock { delay: delay(&request.lock_configuration)?, ends_at: None };
    let rule = txn.put(&ctx.region, Rule { lock: Some(lock), ..(*rule).clone() });
    Ok(answer!(LockRuleResponse, ctx, rule, |shown| lock_configuration: shown.lock))
}

fn unlock(ctx: &Context, request: &UnlockRuleRequest, txn: &mut Txn<'_>) -> Result<UnlockRuleResponse> {
    let rule = hold(ctx, txn, &request.identifier)?;
    let Some(lock) = rule.lock.filter(|_| rule.stage(ctx.now) == LockStage::Locked) else {
        return Err(conflict(format!("The rule '{}' is not locked.", rule.rule)));
    };
    let ends_at = ctx.now + Duration::from_hours(24 * u64::from(lock.delay));
    let lock = Lock { ends_at: Some(ends_at), ..lock };
    let rule = txn.put(&ctx.region, Rule { lock: Some(lock), ..(*rule).clone() });
    Ok(
        answer!(UnlockRuleResponse, ctx, rule, |shown| lock_configuration: shown.lock, lock_end_time: shown.ends),
    )
}

fn render_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

/// The rule that an ARN names.
fn id_of<'a>(ctx: &Context, named: &'a str) -> Result<&'a str> {
    let (_, id) = named.rsplit_once('/').ok_or_else(|| validation("The ARN is malformed."))?;
    if arn(ctx, id).as_str() == named { Ok(id) } else { Err(not_found(id)) }
}

fn tag(ctx: &Context, request: &TagResourceRequest, txn: &mut Txn<'_>) -> Result<TagResourceResponse> {
    let mut rule = (*hold(ctx, txn, id_of(ctx, &request.resource_arn)?)?).clone();
    with_tags(&mut rule.tags, &request.tags)?;
    txn.put(&ctx.region, rule);
    Ok(TagResourceResponse {})
}

fn untag(ctx: &Context, request: &UntagResourceRequest, txn: &mut Txn<'_>) -> Result<UntagResourceResponse> {
    let mut rule = (*hold(ctx, txn, id_of(ctx, &request.resource_arn)?)?).clone();
    rule.tags.retain(|key, _| !request.tag_keys.contains(key));
    txn.put(&ctx.region, rule);
    Ok(UntagResourceResponse {})
}

fn tags(
    ctx: &Context,
    request: &ListTagsForResourceRequest,
    tables: &Tables,
) -> Result<ListTagsForResourceResponse> {
    let rule = find(ctx, tables, id_of(ctx, &request.resource_arn)?)?;
    Ok(ListTagsForResourceResponse { tags: Some(render_tags(&rule.tags)) })
}

fn one(ctx: &Context, tables: &Tables, id: &str) -> Vec<Touched> {
    let id = id.rsplit('/').next().unwrap_or(id);
    find(ctx, tables, id).map_or_else(
        |_| Touched::anything(),
        |rule| vec![Touched::new(arn(ctx, &rule.rule)).tagged(&rule.tags)],
    )
}

/// The service with every operation that is built.
pub fn service() -> Service {
    let mut service = Service::new(&api_rbin::SERVICE);
    service
        .exclusive(ops::CreateRule, |ctx, _, _| vec![Touched::new(arn(ctx, "*"))], create)
        .read(ops::GetRule, |ctx, r, tables| one(ctx, tables, &r.identifier), get)
        .read(ops::ListRules, |ctx, _, _| vec![Touched::new(arn(ctx, "*"))], list)
        .write(ops::UpdateRule, |ctx, r, tables| one(ctx, tables, &r.identifier), update)
        .write(ops::DeleteRule, |ctx, r, tables| one(ctx, tables, &r.identifier), delete)
        .write(ops::LockRule, |ctx, r, tables| one(ctx, tables, &r.identifier), lock)
        .write(ops::UnlockRule, |ctx, r, tables| one(ctx, tables, &r.identifier), unlock)
        .write(ops::TagResource, |ctx, r, tables| one(ctx, tables, &r.resource_arn), tag)
        .write(ops::UntagResource, |ctx, r, tables| one(ctx, tables, &r.resource_arn), untag)
        .read(ops::ListTagsForResource, |ctx, r, tables| one(ctx, tables, &r.resource_arn), tags);
    service
}
