cmake_minimum_required(VERSION 3.20)
project(wrong LANGUAGES C)
find_package(glvq REQUIRED COMPONENTS Training)
