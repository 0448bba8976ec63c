# SPDX-License-Identifier: Apache-2.0
# Compiler and linker flags of every target. Flags that one of the two compilers lacks are probed.
include(CheckCCompilerFlag)

add_compile_definitions(_GNU_SOURCE PROTECT_VERSION="${PROJECT_VERSION}")
add_compile_options(
	-Wall -Wextra -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes
	-Wimplicit-fallthrough -Wformat=2 -Wcast-qual -fno-common -fno-omit-frame-pointer
)
foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
		-ftrivial-auto-var-init=zero)
	string(MAKE_C_IDENTIFIER "HAVE${flag}" probe)
	check_c_compiler_flag(${flag} ${probe})
	if(${probe})
		add_compile_options(${flag})
	endif()
endforeach()

if(PROTECT_SANITIZE)
	add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all)
	# Two hundred programs are linked, most of them tests: these linkers take a third of ld's time.
	add_link_options(-fsanitize=address,undefined $<IF:$<C_COMPILER_ID:Clang>,-fuse-ld=lld,-fuse-ld=gold>)
	if(CMAKE_C_COMPILER_ID MATCHES "Clang")
		add_compile_options(-fsanitize=fuzzer-no-link) # coverage for tests/fuzz
	endif()
else()
	add_compile_options($<$<CONFIG:Release>:-D_FORTIFY_SOURCE=3>)
	add_link_options(-Wl,-z,relro,-z,now -Wl,-z,noexecstack)
endif()

# Links a program as static-pie in release builds: no loader, no libraries to trust, a smaller address space.
function(protect_static target)
	if(PROTECT_STATIC AND NOT PROTECT_SANITIZE)
		target_compile_options(${target} PRIVATE -fPIE)
		target_link_options(${target} PRIVATE -static-pie)
	endif()
endfunction()
