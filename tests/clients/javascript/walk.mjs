// The walk of a user of the AWS SDK for JavaScript: from a key pair to a terminated instance. Settings come from the
// environment alone. Prints the instance's id.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import {
  AuthorizeSecurityGroupIngressCommand, CreateKeyPairCommand, CreateSecurityGroupCommand, CreateTagsCommand,
  DeleteKeyPairCommand, DeleteSecurityGroupCommand, DescribeImagesCommand, DescribeInstanceAttributeCommand,
  DescribeInstancesCommand, DescribeSubnetsCommand, DescribeTagsCommand, DescribeVolumesCommand, DescribeVpcsCommand,
  EC2Client, EC2ServiceException, ModifyInstanceAttributeCommand, RunInstancesCommand, StartInstancesCommand,
  StopInstancesCommand, TerminateInstancesCommand, paginateDescribeInstanceTypes, paginateDescribeInstances,
  waitUntilInstanceRunning, waitUntilInstanceStopped, waitUntilInstanceTerminated,
} from "@aws-sdk/client-ec2";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";

const NAME = `walk-javascript-${randomUUID().slice(0, 8)}`;
const USER_DATA = "#!/bin/sh\necho hello from user data\n";
const ec2 = new EC2Client();
const wait = { client: ec2, maxWaitTime: 300, minDelay: 1, maxDelay: 2 };

/** The call fails with this error code; returns the error. */
async function refused(code, command) {
  const error = await ec2.send(command).then(() => null, (error) => error);
  assert.ok(error, `${command.constructor.name} succeeded, ${code} was expected`);
  assert.ok(error instanceof EC2ServiceException, `${error}`);
  assert.equal(error.name, code);
  assert.equal(error.$fault, "client");
  assert.ok(error.message && error.$metadata.requestId);
  return error;
}

const describe = async (id) =>
  (await ec2.send(new DescribeInstancesCommand({ InstanceIds: [id] }))).Reservations[0].Instances[0];

const { Account } = await new STSClient().send(new GetCallerIdentityCommand({}));
assert.match(Account, /^\d{12}$/);

const { Images } = await ec2.send(new DescribeImagesCommand({
  Owners: ["amazon"], Filters: [{ Name: "name", Values: ["nube/*"] }] }));
const [vpc] = (await ec2.send(new DescribeVpcsCommand({ Filters: [{ Name: "is-default", Values: ["true"] }] }))).Vpcs;
const { Subnets } = await ec2.send(new DescribeSubnetsCommand({ Filters: [{ Name: "vpc-id", Values: [vpc.VpcId] }] }));

const { KeyMaterial } = await ec2.send(new CreateKeyPairCommand({ KeyName: NAME, KeyType: "ed25519" }));
assert.match(KeyMaterial, /PRIVATE KEY/);
await refused("InvalidKeyPair.Duplicate", new CreateKeyPairCommand({ KeyName: NAME }));
const { GroupId } = await ec2.send(new CreateSecurityGroupCommand({
  GroupName: NAME, Description: "the walk", VpcId: vpc.VpcId }));
const { SecurityGroupRules } = await ec2.send(new AuthorizeSecurityGroupIngressCommand({
  GroupId, IpPermissions: [{ IpProtocol: "tcp", FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: "0.0.0.0/0" }] }] }));
assert.equal(SecurityGroupRules[0].CidrIpv4, "0.0.0.0/0");

const launch = {
  ImageId: Images[0].ImageId, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1, KeyName: NAME,
  SubnetId: Subnets[0].SubnetId, SecurityGroupIds: [GroupId], ClientToken: NAME,
  UserData: Buffer.from(USER_DATA).toString("base64"),
  TagSpecifications: [{ ResourceType: "instance", Tags: [{ Key: "Name", Value: NAME }] }],
};
const dry = await refused("DryRunOperation", new RunInstancesCommand({ ...launch, DryRun: true }));
assert.equal(dry.$metadata.httpStatusCode, 412);
const [instance] = (await ec2.send(new RunInstancesCommand(launch))).Instances;
const again = await ec2.send(new RunInstancesCommand(launch));
assert.deepEqual(again.Instances.map((same) => same.InstanceId), [instance.InstanceId]);
await refused("IdempotentParameterMismatch", new RunInstancesCommand({ ...launch, InstanceType: "t3.micro" }));
const InstanceIds = [instance.InstanceId];
await waitUntilInstanceRunning(wait, { InstanceIds });

const running = await describe(instance.InstanceId);
assert.deepEqual(running.State, { Code: 16, Name: "running" });
assert.deepEqual(running.Tags, [{ Key: "Name", Value: NAME }]);
assert.deepEqual(running.SecurityGroups, [{ GroupId, GroupName: NAME }]);
assert.ok(running.LaunchTime instanceof Date && running.PublicIpAddress);
const attribute = await ec2.send(new DescribeInstanceAttributeCommand({
  InstanceId: instance.InstanceId, Attribute: "userData" }));
assert.equal(Buffer.from(attribute.UserData.Value, "base64").toString(), USER_DATA);

const found = [];
for await (const page of paginateDescribeInstances({ client: ec2, pageSize: 5 }, {
  Filters: [{ Name: "tag:Name", Values: [NAME] }, { Name: "instance-state-name", Values: ["running"] }] })) {
  found.push(...page.Reservations.flatMap((reservation) => reservation.Instances.map((one) => one.InstanceId)));
}
assert.deepEqual(found, InstanceIds);
const types = new Set();
for await (const page of paginateDescribeInstanceTypes({ client: ec2, pageSize: 5 }, {
  Filters: [{ Name: "instance-type", Values: ["t3.*"] }] })) {
  page.InstanceTypes.forEach((type) => types.add(type.InstanceType));
}
assert.equal(types.size, 7);
const { Volumes } = await ec2.send(new DescribeVolumesCommand({
  Filters: [{ Name: "attachment.instance-id", Values: InstanceIds }] }));
assert.deepEqual(Volumes.map((volume) => volume.State), ["in-use"]);

await ec2.send(new CreateTagsCommand({
  Resources: [...InstanceIds, Volumes[0].VolumeId], Tags: [{ Key: "with space", Value: "a, b & <ü>" }] }));
const { Tags } = await ec2.send(new DescribeTagsCommand({
  Filters: [{ Name: "resource-id", Values: [Volumes[0].VolumeId] }] }));
assert.deepEqual(Tags, [{
  Key: "with space", ResourceId: Volumes[0].VolumeId, ResourceType: "volume", Value: "a, b & <ü>" }]);

const modify = new ModifyInstanceAttributeCommand({
  InstanceId: instance.InstanceId, InstanceType: { Value: "t3.micro" } });
await refused("IncorrectInstanceState", modify);
await ec2.send(new StopInstancesCommand({ InstanceIds }));
await waitUntilInstanceStopped(wait, { InstanceIds });
await ec2.send(modify);
await ec2.send(new StartInstancesCommand({ InstanceIds }));
await waitUntilInstanceRunning(wait, { InstanceIds });
assert.equal((await describe(instance.InstanceId)).InstanceType, "t3.micro");

await refused("InvalidInstanceID.NotFound", new DescribeInstancesCommand({ InstanceIds: ["i-0123456789abcdef0"] }));
await refused("InvalidInstanceID.Malformed", new DescribeInstancesCommand({ InstanceIds: ["i-wrong"] }));
await refused("DependencyViolation", new DeleteSecurityGroupCommand({ GroupId }));

await ec2.send(new TerminateInstancesCommand({ InstanceIds }));
await waitUntilInstanceTerminated(wait, { InstanceIds });
await ec2.send(new DeleteSecurityGroupCommand({ GroupId }));
await ec2.send(new DeleteKeyPairCommand({ KeyName: NAME }));
console.log(instance.InstanceId);
