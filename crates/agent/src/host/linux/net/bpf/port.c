// What the kernel runs at each port's link: limits on bandwidth, and a short way for flows that the rule set has let pass.
//
// from_port  a frame that the machine sends: charged to its instance; where its flow is known, straight to the other port
// to_port    a frame that goes to the machine: charged to its instance; where the rule set says so, its flow becomes known
//
// mod.rs tells the whole, and loads this as bytecode.rs has it (`cargo xtask bpf`). Numbers and layouts are those of mod.rs.
// Addresses and ports are in network byte order, times in nanoseconds of the monotonic clock.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

#define PROGRAM(hook) __attribute__((section(#hook), used))
#define INLINE static inline __attribute__((always_inline))
#define htons(x) __builtin_bswap16(x)
#define htonl(x) __builtin_bswap32(x)

static void *(*const lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const update)(void *map, const void *key, const void *value, u64 flags) =
    (void *)BPF_FUNC_map_update_elem;
static u64 (*const now)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*const redirect)(u32 link, u64 flags) = (void *)BPF_FUNC_redirect;
static long (*const pull_data)(struct __sk_buff *skb, u32 length) = (void *)BPF_FUNC_skb_pull_data;

// Stands for the nth map until the program is loaded.
#define MAP(n) ({ void *map; __asm__("%0 = %1 ll" : "=r"(map) : "i"(0x6e756265ull << 32 | (n))); map; })
#define PORTS MAP(0)
#define BUCKETS MAP(1)
#define FLOWS MAP(2)
#define CHANGED MAP(3)

// The largest packet of a link.
#define MTU 1500
// The rule set's mark on a packet whose flow may become known.
#define TRACKED 0x40000000
// The marks of copies that traffic mirroring sends.
#define COPY 100
#define COPY_FROM_ELSEWHERE 101
// How long a flow is known without the rule set having seen it again.
#define KNOWN_FOR 1000000000ull

struct port {
	u32 bucket; // 0: not limited
	u32 resolver; // the VPC's own, 0: none
	u8 mac[ETH_ALEN];
	u8 cached; // whether its flows may become known
	u8 unused;
};

// Holds as much as is let through in `depth` when it was left alone for long.
struct limit {
	u64 cost; // of a byte, times 65536; 0: none
	u64 depth;
	u64 next; // when all that was charged is paid
};

enum direction { OUT, IN };

struct bucket {
	u64 instance[2];
	u64 base, burst, seconds;
	struct limit limits[2][2]; // of each direction: at the peak, at the base
};

struct key {
	u32 port; // by which it comes
	u32 from[4], to[4]; // those of IPv4 in the first word
	u32 ports;
	u32 kind; // the protocol, and the version of IP
};

struct flow {
	u64 learned;
	u32 port; // by which it goes
	u8 mac[ETH_ALEN]; // of who sends it
	u8 header[ETH_HLEN]; // with which it goes
};

struct packet {
	struct key key;
	u32 size; // of each of its segments, with their headers
	u8 hops;
};

INLINE int over(struct limit *limit, u64 bytes, u64 time)
{
	u64 cost = bytes * limit->cost >> 16;

	if (!cost)
		return 0;
	// Two processors at once: whoever is late counts anew. Who is late four times passes.
#pragma unroll
	for (int i = 0; i < 4; i++) {
		u64 next = limit->next, paid = (next > time ? next : time) + cost;

		if (paid - time > limit->depth)
			return 1;
		if (__sync_val_compare_and_swap(&limit->next, next, paid) == next)
			return 0;
	}
	return 0;
}

// Whether its instance has no tokens left for a packet.
INLINE int charge(struct __sk_buff *skb, const struct port *port, enum direction direction)
{
	u32 number = port->bucket;
	struct bucket *bucket = lookup(BUCKETS, &number);
	u64 time = now();

	if (!bucket)
		return 0;
	return over(&bucket->limits[direction][0], skb->len - ETH_HLEN, time) ||
	       over(&bucket->limits[direction][1], skb->len - ETH_HLEN, time);
}

// Lets the headers be read: the packet's first bytes lie in one piece.
INLINE int reach(struct __sk_buff *skb)
{
	u32 most = ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct tcphdr);

	if (skb->data_end - skb->data >= most || skb->data_end - skb->data >= skb->len)
		return 1;
	return !pull_data(skb, skb->len < most ? skb->len : most);
}

// What flows are told apart by. Only of what may be known: TCP within a connection, and UDP, whole and without options.
INLINE int parse(struct __sk_buff *skb, struct packet *packet)
{
	u8 *data = (u8 *)(long)skb->data, *end = (u8 *)(long)skb->data_end, *ports;
	u32 length = skb->len - ETH_HLEN, headers;
	struct key *key = &packet->key;

	if (data + ETH_HLEN + sizeof(struct iphdr) + 8 > end)
		return 0;
	if (((struct ethhdr *)data)->h_proto == htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(data + ETH_HLEN);
		u32 total = htons(ip->tot_len);

		if (*(u8 *)ip != 0x45 || ip->frag_off & htons(0x3fff) || total > length)
			return 0;
		key->from[0] = ip->saddr;
		key->to[0] = ip->daddr;
		key->kind = 4 << 8 | ip->protocol;
		packet->hops = ip->ttl;
		headers = sizeof(*ip);
		length = total;
		ports = (u8 *)(ip + 1);
	} else if (((struct ethhdr *)data)->h_proto == htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(data + ETH_HLEN);
		u32 total;

		if (data + ETH_HLEN + sizeof(*ip) + 8 > end)
			return 0;
		total = htons(ip->payload_len) + sizeof(*ip);
		if (ip->version != 6 || total > length)
			return 0;
		__builtin_memcpy(key->from, &ip->saddr, 16);
		__builtin_memcpy(key->to, &ip->daddr, 16);
		key->kind = 6 << 8 | ip->nexthdr;
		packet->hops = ip->hop_limit;
		headers = sizeof(*ip);
		length = total;
		ports = (u8 *)(ip + 1);
	} else {
		return 0;
	}
	switch (key->kind & 0xff) {
	case IPPROTO_TCP: {
		struct tcphdr *tcp = (void *)ports;

		if ((u8 *)(tcp + 1) > end || tcp->syn || tcp->fin || tcp->rst || tcp->doff < 5)
			return 0;
		headers += tcp->doff * 4;
		break;
	}
	case IPPROTO_UDP:
		if (ports + 8 > end)
			return 0;
		headers += 8;
		break;
	default:
		return 0;
	}
	if (length < headers)
		return 0;
	key->ports = *(u32 *)ports;
	packet->size = skb->gso_size ? skb->gso_size + headers : length;
	return 1;
}

// Whether a machine speaks with its router alone, or with its neighbours in the link's own ways.
INLINE int is_uncharged(struct __sk_buff *skb, const struct port *port)
{
	u8 *data = (u8 *)(long)skb->data, *end = (u8 *)(long)skb->data_end;

	if (data + ETH_HLEN + sizeof(struct iphdr) > end)
		return 1;
	if (((struct ethhdr *)data)->h_proto == htons(ETH_P_IP)) {
		u32 to = ((struct iphdr *)(data + ETH_HLEN))->daddr;

		return (to & htonl(0xffff0000)) == htonl(0xa9fe0000) || (to & htonl(0xe0000000)) == htonl(0xe0000000) ||
		       (to == port->resolver && to);
	}
	if (((struct ethhdr *)data)->h_proto == htons(ETH_P_IPV6)) {
		u32 *to = ((struct ipv6hdr *)(data + ETH_HLEN))->daddr.in6_u.u6_addr32;

		if ((u8 *)(to + 4) > end)
			return 1;
		return (*to & htonl(0xffc00000)) == htonl(0xfe800000) || (*to & htonl(0xff000000)) == htonl(0xff000000) ||
		       *to == htonl(0xfd000ec2);
	}
	return 1;
}

INLINE int same(const u8 *a, const u8 *b)
{
	return *(u32 *)a == *(u32 *)b && *(u16 *)(a + 4) == *(u16 *)(b + 4);
}

PROGRAM(ingress)
int from_port(struct __sk_buff *skb)
{
	u32 link = skb->ifindex, first = 0;
	struct packet packet = {};
	struct port *port;
	struct flow *flow;
	u64 *changed;
	u8 *data, *end;

	port = lookup(PORTS, &link);
	if (!port || !reach(skb))
		return TC_ACT_OK;
	if (port->bucket && !is_uncharged(skb, port) && charge(skb, port, OUT))
		return TC_ACT_SHOT;
	if (!port->cached || skb->vlan_present || skb->pkt_type != 0 || !parse(skb, &packet))
		return TC_ACT_OK;
	if (packet.size > MTU || packet.hops <= 1)
		return TC_ACT_OK;
	packet.key.port = link;
	flow = lookup(FLOWS, &packet.key);
	changed = lookup(CHANGED, &first);
	if (!flow || !changed || flow->learned < *changed || now() - flow->learned > KNOWN_FOR)
		return TC_ACT_OK;
	data = (u8 *)(long)skb->data;
	end = (u8 *)(long)skb->data_end;
	if (data + ETH_HLEN + sizeof(struct iphdr) > end || !same(data + ETH_ALEN, flow->mac))
		return TC_ACT_OK;
	if (packet.key.kind >> 8 == 4) {
		struct iphdr *ip = (void *)(data + ETH_HLEN);
		u32 sum = ip->check + htons(0x0100);

		ip->check = sum + (sum >= 0xffff);
		ip->ttl--;
	} else {
		struct ipv6hdr *ip = (void *)(data + ETH_HLEN);

		if ((u8 *)(ip + 1) > end)
			return TC_ACT_OK;
		ip->hop_limit--;
	}
	__builtin_memcpy(data, flow->header, ETH_HLEN);
	return redirect(flow->port, 0);
}

PROGRAM(egress)
int to_port(struct __sk_buff *skb)
{
	u32 link = skb->ifindex, came = skb->ingress_ifindex, first = 0;
	struct port *port, *sender;
	struct packet packet = {};
	struct flow flow = {};
	u64 *changed;
	u8 *data, *end;

	port = lookup(PORTS, &link);
	if (!port)
		return TC_ACT_OK;
	// What the router itself says is free, but for copies.
	if (!came && skb->mark != COPY && skb->mark != COPY_FROM_ELSEWHERE)
		return TC_ACT_OK;
	if (port->bucket && charge(skb, port, IN))
		return TC_ACT_SHOT;
	if (!(skb->mark & TRACKED) || !port->cached || !reach(skb) || !parse(skb, &packet))
		return TC_ACT_OK;
	sender = lookup(PORTS, &came);
	changed = lookup(CHANGED, &first);
	flow.learned = now();
	// Just after a change what passes may have been judged before it.
	if (!sender || !sender->cached || !changed || flow.learned < *changed)
		return TC_ACT_OK;
	data = (u8 *)(long)skb->data;
	end = (u8 *)(long)skb->data_end;
	if (data + ETH_HLEN > end)
		return TC_ACT_OK;
	packet.key.port = came;
	flow.port = link;
	__builtin_memcpy(flow.header, data, ETH_HLEN);
	__builtin_memcpy(flow.mac, sender->mac, ETH_ALEN);
	update(FLOWS, &packet.key, &flow, BPF_ANY);
	return TC_ACT_OK;
}
