/* main.h - what the parts of the simulation need of its main(). */
#ifndef SIM_MAIN_H
#define SIM_MAIN_H

__attribute__((noreturn)) void main_found(const char *what);

#endif
