#ifndef TESTS_TURN_STUBS_H
#define TESTS_TURN_STUBS_H

struct turn_stub_calls {
	unsigned acks, pauses, resumes;
};
extern struct turn_stub_calls turn_stub_calls;

#endif
