/* What the turn tells the broker, counted. */
#include "broker.h"
#include "turn_stubs.h"

struct turn_stub_calls turn_stub_calls;

void broker_ack(struct broker *broker)
{
	(void)broker;
	turn_stub_calls.acks++;
}

void broker_pause(struct broker *broker, const char *reason)
{
	(void)broker, (void)reason;
	turn_stub_calls.pauses++;
}

void broker_resume(struct broker *broker)
{
	(void)broker;
	turn_stub_calls.resumes++;
}
