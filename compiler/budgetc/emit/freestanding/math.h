/* What generated C names of <math.h>, for compilers of cores without an operating system, which bring no such file.
 * Which of the functions there are, linking says. */
#pragma once

#define INFINITY __builtin_inff()
#define HUGE_VAL __builtin_inf()
#define HUGE_VALF __builtin_inff()
#define NAN __builtin_nanf("")
#define isnan(x) __builtin_isnan(x)
#define isinf(x) __builtin_isinf(x)
#define isfinite(x) __builtin_isfinite(x)
#define isnormal(x) __builtin_isnormal(x)
#define signbit(x) __builtin_signbit(x)

#define BUDGETC_ONE(name) double name(double); float name##f(float);
#define BUDGETC_TWO(name) double name(double, double); float name##f(float, float);
BUDGETC_ONE(acos) BUDGETC_ONE(acosh) BUDGETC_ONE(asin) BUDGETC_ONE(asinh) BUDGETC_ONE(atan) BUDGETC_ONE(atanh)
BUDGETC_ONE(cbrt) BUDGETC_ONE(ceil) BUDGETC_ONE(cos) BUDGETC_ONE(cosh) BUDGETC_ONE(erf) BUDGETC_ONE(erfc)
BUDGETC_ONE(exp) BUDGETC_ONE(exp2) BUDGETC_ONE(expm1) BUDGETC_ONE(fabs) BUDGETC_ONE(floor) BUDGETC_ONE(lgamma)
BUDGETC_ONE(log) BUDGETC_ONE(log10) BUDGETC_ONE(log1p) BUDGETC_ONE(log2) BUDGETC_ONE(logb) BUDGETC_ONE(nearbyint)
BUDGETC_ONE(rint) BUDGETC_ONE(round) BUDGETC_ONE(sin) BUDGETC_ONE(sinh) BUDGETC_ONE(sqrt) BUDGETC_ONE(tan)
BUDGETC_ONE(tanh) BUDGETC_ONE(tgamma) BUDGETC_ONE(trunc)
BUDGETC_TWO(atan2) BUDGETC_TWO(copysign) BUDGETC_TWO(fmax) BUDGETC_TWO(fmin) BUDGETC_TWO(fmod) BUDGETC_TWO(hypot)
BUDGETC_TWO(nextafter) BUDGETC_TWO(pow) BUDGETC_TWO(remainder)

double fma(double, double, double);
float fmaf(float, float, float);
double frexp(double, int *);
float frexpf(float, int *);
double ldexp(double, int);
float ldexpf(float, int);
double modf(double, double *);
float modff(float, float *);
double scalbn(double, int);
float scalbnf(float, int);
long lrint(double);
long lrintf(float);
long lround(double);
long lroundf(float);
long long llrint(double);
long long llrintf(float);
long long llround(double);
long long llroundf(float);
