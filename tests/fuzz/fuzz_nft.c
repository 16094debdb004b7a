/* fuzz_nft.c - what comes over netlink to portwall, the privileged helper: nothing is read
 * beyond its end, and no picture of a table holds what another table's message said. */
#include "fuzz.h"

#include "nft_picture.h"

static struct nft_painter painter;

static void on_message(void *data, const struct nlmsghdr *h)
{
	size_t before = painter.picture.size;

	nft_paint(data, h);
	must(painter.set_count <= NFT_SETS_MAX);
	must(painter.picture.size == before || nft_names(h, h->nlmsg_len, painter.table));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nft_answer answer = { .fn = on_message, .data = &painter };
	/* aligned as a message is, and with an end that is watched */
	void *copy = malloc(size + 1);

	painter = (struct nft_painter){ .table = "listenerd_a" };
	memcpy(copy, data, size);
	nft_read_datagram(&answer, copy, size);
	must(answer.error <= 0 && memchr(answer.why, 0, sizeof answer.why));
	must(nft_pictures_equal(&painter.picture, &painter.picture) == (painter.picture.size > 0));
	free(painter.picture.bytes);
	free(copy);
	return 0;
}
